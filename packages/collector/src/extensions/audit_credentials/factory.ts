import type { ExtensionFactory } from "../../component.ts";
import { auditCredentialsConfig, type AuditCredentialsConfig } from "./config.ts";
import { CredentialsFile } from "./credentials-file.ts";
import { AuditCredentials } from "./extension.ts";

export const auditCredentialsFactory: ExtensionFactory<AuditCredentialsConfig> = {
  kind: "extension",
  type: "audit_credentials",
  authenticates: true,
  schema: auditCredentialsConfig,
  supervise: (config, context) => new CredentialsFile(config, context),
  create: (config, context) => new AuditCredentials(config, context),
};
