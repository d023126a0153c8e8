import type { ExporterFactory } from "../../component.ts";
import { otlphttpConfig, type OtlphttpConfig } from "./config.ts";
import { OtlphttpExporter } from "./exporter.ts";

export const otlphttpFactory: ExporterFactory<OtlphttpConfig> = {
  kind: "exporter",
  type: "otlphttp",
  signals: ["traces"],
  schema: otlphttpConfig,
  create: (config, context) => new OtlphttpExporter(config, context),
};
