import type { ConnectorFactory } from "../../component.ts";
import { auditRouterConfig, type AuditRouterConfig } from "./config.ts";
import { AuditRouter } from "./router.ts";

export const auditRouterFactory: ConnectorFactory<AuditRouterConfig> = {
  kind: "connector",
  type: "audit_router",
  schema: auditRouterConfig,
  pipelines: (config) => [...new Set([...config.audit, ...config.debug])],
  auditPipelines: ({ audit }) => audit,
  create: (config, next, context) => new AuditRouter(config, next, context),
};
