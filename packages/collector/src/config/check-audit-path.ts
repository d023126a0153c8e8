import { factories } from "../components.ts";
import { configError } from "../errors.ts";
import { componentType, signalOf, type CollectorConfig } from "./schema.ts";

/** Where an audit record is kept before it is acknowledged; every other exporter may drop what it has taken. */
export const LEDGER = "clickhouse_audit";

/** Wherever audit spans may come in, something keeps them. @throws CollectorError */
export function checkAuditPath(config: CollectorConfig): void {
  const { pipelines } = config.service;
  const seen = new Set<string>();
  const walk = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const { exporters } = pipelines[name]!;
    const connectors = exporters.filter((id) => config.connectors.has(id));
    for (const id of connectors) {
      for (const next of factories("connector").get(componentType(id))!.auditPipelines(config.connectors.get(id)))
        walk(next);
    }
    if (connectors.length > 0 || exporters.some((id) => componentType(id) === LEDGER)) return;
    throw configError(
      ["service", "pipelines", name],
      `audit spans would end in ${exporters.join(", ")}, which may drop them after they were acknowledged: add ${LEDGER}, with an audit_router before it if only audit spans shall go there`,
    );
  };
  for (const [name, { receivers }] of Object.entries(pipelines)) {
    if (signalOf(name) === "traces" && receivers.some((id) => config.receivers.has(id))) walk(name);
  }
}
