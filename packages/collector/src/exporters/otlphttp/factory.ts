import { SIGNALS, type ExporterFactory } from "../../component.ts";
import { otlphttpConfig, signalUrl, type OtlphttpConfig } from "./config.ts";
import { OtlphttpExporter } from "./exporter.ts";

export const otlphttpFactory: ExporterFactory<OtlphttpConfig> = {
  kind: "exporter",
  type: "otlphttp",
  signals: SIGNALS,
  schema: otlphttpConfig,
  refuses: (config, signal) =>
    signalUrl(config, signal) === undefined ? `has neither endpoint nor ${signal}_endpoint` : undefined,
  create: (config, context) => new OtlphttpExporter(config, context),
};
