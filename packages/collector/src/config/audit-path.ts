import { factories } from "../components.ts";
import { componentType, signalOf, type CollectorConfig } from "./schema.ts";

/** Where an audit record is kept before it is acknowledged; every other exporter may drop what it has taken. */
const LEDGER = "clickhouse_audit";

/** Pipelines by which audit spans come in and in which nothing keeps them: not wrong, and hardly what anybody wants. */
export function unkeptAuditSpans(config: CollectorConfig): readonly string[] {
  const { pipelines } = config.service;
  const warnings: string[] = [];
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
    warnings.push(
      `service::pipelines::${name}: audit spans end in ${exporters.join(", ")}, where they wait in memory and may be dropped; add ${LEDGER} (behind an audit_router) to keep them`,
    );
  };
  for (const [name, { receivers }] of Object.entries(pipelines)) {
    if (signalOf(name) === "traces" && receivers.some((id) => config.receivers.has(id))) walk(name);
  }
  return warnings;
}
