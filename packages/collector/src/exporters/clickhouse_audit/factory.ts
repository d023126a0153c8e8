import type { ExporterFactory } from "../../component.ts";
import { neededEngine } from "../destination.ts";
import { clickhouseAuditConfig, type ClickhouseAuditConfig } from "./config.ts";
import { AuditDirectory } from "./directory.ts";
import { ClickhouseAuditExporter } from "./exporter.ts";

export const clickhouseAuditFactory: ExporterFactory<ClickhouseAuditConfig> = {
  kind: "exporter",
  type: "clickhouse_audit",
  signals: ["traces"],
  alone:
    "a data directory has one log, whose records go to one place; use one of them in all pipelines, or a second collector with a data directory of its own",
  schema: clickhouseAuditConfig,
  supervise: (config, context) => new AuditDirectory(config, context),
  needs: neededEngine,
  create: (config, context) => new ClickhouseAuditExporter(config, context),
};
