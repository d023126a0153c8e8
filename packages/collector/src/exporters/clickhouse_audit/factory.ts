import type { ExporterFactory } from "../../component.ts";
import { clickhouseAuditConfig, type ClickhouseAuditConfig } from "./config.ts";
import { AuditDirectory } from "./directory.ts";
import { ClickhouseAuditExporter } from "./exporter.ts";

export const clickhouseAuditFactory: ExporterFactory<ClickhouseAuditConfig> = {
  kind: "exporter",
  type: "clickhouse_audit",
  signals: ["traces"],
  schema: clickhouseAuditConfig,
  supervise: (config, context) => new AuditDirectory(config, context),
  create: (config, context) => new ClickhouseAuditExporter(config, context),
};
