import type { ProcessorFactory } from "../../component.ts";
import { auditConfig, type AuditConfig } from "./config.ts";
import { AuditProcessor } from "./processor.ts";

export const auditFactory: ProcessorFactory<AuditConfig> = {
  kind: "processor",
  type: "audit",
  schema: auditConfig,
  create: (config, next, context) => new AuditProcessor(config, next, context),
};
