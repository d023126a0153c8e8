import type { Signal } from "../component.ts";
import { factories, type ComponentKind } from "../components.ts";
import { configError, type CollectorError } from "../errors.ts";
import { checkAuditPath } from "./check-audit-path.ts";
import { checkAuth } from "./check-auth.ts";
import { componentType, signalOf, type CollectorConfig, type ServiceConfig } from "./schema.ts";
import { componentRefusal } from "./refused-components.ts";

/** Every reference refers to something, every pipeline is complete, every signal is taken. @throws CollectorError */
export function checkReferences(config: CollectorConfig): void {
  const { service } = config;
  for (const id of service.extensions) {
    if (!config.extensions.has(id))
      throw configError(["service", "extensions"], `references extension "${id}" which is not configured`);
  }
  if (Object.keys(service.pipelines).length === 0)
    throw configError(["service", "pipelines"], "must have at least one pipeline");
  for (const [name, pipeline] of Object.entries(service.pipelines)) checkPipeline(config, name, pipeline);
  for (const [id, connectorConfig] of config.connectors) checkConnector(config, id, connectorConfig);
  checkAlone(config);
  checkAuth(config);
  checkAuditPath(config);
}

/** Of some exporters a service has one. */
function checkAlone({ service, exporters }: CollectorConfig): void {
  const used = new Set(Object.values(service.pipelines).flatMap((pipeline) => pipeline.exporters));
  const first = new Map<string, string>();
  for (const id of exporters.keys()) {
    const type = componentType(id);
    const reason = factories("exporter").get(type)?.alone;
    if (reason === undefined || !used.has(id)) continue;
    const other = first.get(type);
    if (other !== undefined) throw configError(["exporters", id], `is used beside "${other}": ${reason}`);
    first.set(type, id);
  }
}

function checkPipeline(config: CollectorConfig, name: string, pipeline: ServiceConfig["pipelines"][string]): void {
  const path = ["service", "pipelines", name];
  const signal = signalOf(name);
  if (!signal) {
    throw configError(
      path,
      `unknown signal "${componentType(name)}"; this collector has pipelines for traces, logs and metrics (traces, traces/name)`,
    );
  }
  if (pipeline.receivers.length === 0) throw configError(path, "must have at least one receiver");
  if (pipeline.exporters.length === 0) throw configError(path, "must have at least one exporter");
  const references: [ComponentKind, readonly string[], ...ReadonlyMap<string, unknown>[]][] = [
    ["receiver", pipeline.receivers, config.receivers, config.connectors],
    ["processor", pipeline.processors, config.processors],
    ["exporter", pipeline.exporters, config.exporters, config.connectors],
  ];
  for (const [what, ids, ...where] of references) {
    for (const id of ids) {
      if (where.some((map) => map.has(id))) continue;
      const reason = componentRefusal(what, componentType(id));
      throw configError(
        path,
        reason === undefined
          ? `references ${what} "${id}" which is not configured`
          : `references ${what} "${id}", which is not a component of this collector: ${reason}`,
      );
    }
    const repeated = ids.find((id, i) => ids.indexOf(id) !== i);
    if (repeated !== undefined) throw configError(path, `references ${what} "${repeated}" multiple times`);
  }
  checkSignal(config, path, signal, pipeline);
}

/** Logs and metrics are passed on as bytes: only by components that say so. */
function checkSignal(
  config: CollectorConfig,
  path: readonly string[],
  signal: Signal,
  { receivers, processors, exporters }: ServiceConfig["pipelines"][string],
): void {
  const refuse = (what: string, id: string): CollectorError =>
    configError(path, `${what} "${id}" does not take ${signal}; only traces are read by this collector`);
  for (const id of receivers) {
    if (!factories("receiver").get(componentType(id))?.signals.includes(signal) && !isConnector(config, id, signal))
      throw refuse("receiver", id);
  }
  for (const id of processors) {
    if (signal !== "traces" && !factories("processor").get(componentType(id))!.createForSignals)
      throw refuse("processor", id);
  }
  for (const id of exporters) {
    if (isConnector(config, id, signal)) continue;
    const factory = factories("exporter").get(componentType(id));
    if (!factory?.signals.includes(signal)) throw refuse("exporter", id);
    const reason = factory.refuses?.(config.exporters.get(id), signal);
    if (reason !== undefined) throw configError(path, `exporter "${id}" cannot take ${signal}: it ${reason}`);
  }
}

/** Connectors read spans. */
function isConnector(config: CollectorConfig, id: string, signal: Signal): boolean {
  return signal === "traces" && config.connectors.has(id);
}

function checkConnector(config: CollectorConfig, id: string, connectorConfig: unknown): void {
  const pipelines = Object.entries(config.service.pipelines);
  const into = pipelines.filter(([, pipeline]) => pipeline.exporters.includes(id));
  const outOf = pipelines.filter(([, pipeline]) => pipeline.receivers.includes(id)).map(([name]) => name);
  if (into.length === 0 && outOf.length === 0) return;
  if (into.length === 0)
    throw configError(["connectors", id], "is used as receiver but is not used as exporter in any pipeline");
  const factory = factories("connector").get(componentType(id))!;
  const named = factory.pipelines(connectorConfig);
  for (const name of named) {
    if (!outOf.includes(name))
      throw configError(["connectors", id], `routes to pipeline "${name}", which does not have "${id}" as a receiver`);
  }
  for (const name of outOf) {
    if (!named.includes(name))
      throw configError(
        ["service", "pipelines", name],
        `has connector "${id}" as a receiver, which does not route to it`,
      );
  }
}
