import type { ExtensionFactory } from "../../component.ts";
import { healthCheckConfig, type HealthCheckConfig } from "./config.ts";
import { HealthCheck } from "./health-check.ts";

export const healthCheckFactory: ExtensionFactory<HealthCheckConfig> = {
  kind: "extension",
  type: "health_check",
  schema: healthCheckConfig,
  listens: ({ endpoint }) => [{ setting: ["endpoint"], address: endpoint }],
  supervise: (config, context) => new HealthCheck(config, context),
};
