import type { ExporterFactory } from "../../component.ts";
import { neededEngine } from "../destination.ts";
import { clickhouseTracesConfig, type ClickhouseTracesConfig } from "./config.ts";
import { ClickhouseTracesExporter } from "./exporter.ts";

export const clickhouseTracesFactory: ExporterFactory<ClickhouseTracesConfig> = {
  kind: "exporter",
  type: "clickhouse_traces",
  signals: ["traces"],
  schema: clickhouseTracesConfig,
  needs: neededEngine,
  create: (config, context) => new ClickhouseTracesExporter(config, context),
};
