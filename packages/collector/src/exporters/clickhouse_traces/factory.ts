import type { ExporterFactory } from "../../component.ts";
import { clickhouseTracesConfig, type ClickhouseTracesConfig } from "./config.ts";
import { ClickhouseTracesExporter } from "./exporter.ts";

export const clickhouseTracesFactory: ExporterFactory<ClickhouseTracesConfig> = {
  kind: "exporter",
  type: "clickhouse_traces",
  signals: ["traces"],
  schema: clickhouseTracesConfig,
  create: (config, context) => new ClickhouseTracesExporter(config, context),
};
