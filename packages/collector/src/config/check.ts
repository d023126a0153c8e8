import type { Signal } from "../component.ts";
import { factories, type ComponentKind } from "../components.ts";
import { configError, type CollectorError } from "../errors.ts";
import { checkAuditPath } from "./check-audit-path.ts";
import { checkAuth } from "./check-auth.ts";
import { checkListeners } from "./check-listeners.ts";
import { SECTIONS, componentType, signalOf, type CollectorConfig, type ServiceConfig } from "./schema.ts";
import { componentRefusal } from "./refused-components.ts";

/** Every reference refers to something, every pipeline is complete, every signal is taken. @throws CollectorError */
export function checkReferences(config: CollectorConfig): void {
  const { service } = config;
  checkExtensions(config);
  if (Object.keys(service.pipelines).length === 0)
    throw configError(["service", "pipelines"], "must have at least one pipeline");
  for (const [name, pipeline] of Object.entries(service.pipelines)) checkPipeline(config, name, pipeline);
  for (const [id, connectorConfig] of config.connectors) checkConnector(config, id, connectorConfig);
  checkCycles(config);
  checkUsed(config);
  checkListeners(config);
  checkAuth(config);
  checkAuditPath(config);
}

function checkExtensions({ service, extensions }: CollectorConfig): void {
  const path = ["service", "extensions"];
  for (const id of service.extensions) {
    if (!extensions.has(id)) throw configError(path, `references extension "${id}" which is not configured`);
  }
  const repeated = repetition(service.extensions);
  if (repeated !== undefined) throw configError(path, `references extension "${repeated}" multiple times`);
}

/** What components that run say about others: of some a service has one, and some need an extension. */
function checkUsed(config: CollectorConfig): void {
  const { service, exporters } = config;
  const listed = new Set(Object.values(service.pipelines).flatMap((pipeline) => pipeline.exporters));
  const used = [...exporters.keys()].filter((id) => listed.has(id));
  checkAlone("exporters", used);
  checkAlone("extensions", service.extensions);
  for (const id of used) {
    const needed = factories("exporter").get(componentType(id))!.needs?.(exporters.get(id));
    if (!needed || (service.extensions.includes(needed.id) && componentType(needed.id) === needed.type)) continue;
    throw configError(
      ["exporters", id, needed.setting],
      `references "${needed.id}", which is not a ${needed.type} extension listed under service::extensions`,
    );
  }
}

function checkAlone(section: "exporters" | "extensions", used: readonly string[]): void {
  const first = new Map<string, string>();
  for (const id of used) {
    const type = componentType(id);
    const reason = factories(SECTIONS[section]).get(type)?.alone;
    if (reason === undefined) continue;
    const other = first.get(type);
    if (other !== undefined) throw configError([section, id], `is used beside "${other}": ${reason}`);
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
    const repeated = repetition(ids);
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

/** No pipeline sends to itself, over whatever others. */
function checkCycles({ service, connectors }: CollectorConfig): void {
  const ended = new Set<string>();
  const walk = (name: string, way: readonly string[]): void => {
    if (way.includes(name))
      throw configError(
        ["service", "pipelines"],
        `cycle detected: ${[...way.slice(way.indexOf(name)), name].join(" -> ")}`,
      );
    if (ended.has(name)) return;
    for (const id of service.pipelines[name]!.exporters) {
      if (!connectors.has(id)) continue;
      const next = factories("connector").get(componentType(id))!.pipelines(connectors.get(id));
      for (const one of next) walk(one, [...way, name]);
    }
    ended.add(name);
  };
  for (const name of Object.keys(service.pipelines)) walk(name, []);
}

function repetition(ids: readonly string[]): string | undefined {
  return ids.find((id, i) => ids.indexOf(id) !== i);
}
