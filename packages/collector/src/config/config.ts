import { z } from "zod";
import type { Signal } from "../component.ts";
import { configError, type CollectorError } from "../errors.ts";
import { factories, type ComponentKind } from "../components.ts";
import { listenAddress } from "./address.ts";
import { checkAuth } from "./check-auth.ts";
import { expandEnv } from "./env.ts";
import { parseYaml } from "./yaml.ts";

const SECTIONS = {
  receivers: "receiver",
  processors: "processor",
  exporters: "exporter",
  connectors: "connector",
  extensions: "extension",
} as const;
type Section = keyof typeof SECTIONS;

const SIGNALS: readonly Signal[] = ["traces", "logs", "metrics"];

/** As many as the ledger has room for in its window. */
const MAX_WORKERS = 64;
/** Settings whose values no error repeats. */
const SECRET = /password|token|secret|headers/i;
/** Characters of a wrong value in an error. */
const MAX_SHOWN = 200;

const componentIds = z.array(z.string()).default([]);
const componentMap = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((map) => map ?? {});

const documentSchema = z.strictObject({
  receivers: componentMap,
  processors: componentMap,
  exporters: componentMap,
  connectors: componentMap,
  extensions: componentMap,
  service: z.strictObject({
    /** Threads that each run all pipelines. */
    workers: z.number().int().min(1).max(MAX_WORKERS).default(1),
    extensions: componentIds,
    pipelines: z.record(
      z.string(),
      z.strictObject({ receivers: componentIds, processors: componentIds, exporters: componentIds }),
    ),
    telemetry: z
      .strictObject({
        metrics: z.strictObject({ address: listenAddress.optional() }).prefault({}),
        logs: z
          .strictObject({ level: z.enum(["debug", "info", "warn", "error", "silent"]).default("info") })
          .prefault({}),
      })
      .prefault({}),
  }),
});

export type ServiceConfig = z.output<typeof documentSchema>["service"];

/** A validated configuration: every component's part has its defaults, every reference has something to refer to. */
export interface CollectorConfig extends Readonly<Record<Section, ReadonlyMap<string, unknown>>> {
  readonly service: ServiceConfig;
}

/**
 * Parses and validates a configuration in otelcol's YAML.
 *
 * @param text the YAML; `${env:NAME:-default}` is expanded from `options.env` (default: the environment of the process)
 * @throws CollectorError `INVALID_CONFIG` with the YAML path (or file, line and column) and the offending value
 */
export function parseConfig(
  text: string,
  options: { file?: string; env?: Readonly<Record<string, string | undefined>> } = {},
): CollectorConfig {
  const document = expandEnv(parseYaml(text, options.file ?? "configuration"), options.env ?? process.env);
  const parsed = documentSchema.safeParse(document ?? {});
  if (!parsed.success) throw fromZod(parsed.error, [], document);
  const components = (section: Section): ReadonlyMap<string, unknown> =>
    parseComponents(section, SECTIONS[section], parsed.data[section]);
  const config: CollectorConfig = {
    receivers: components("receivers"),
    processors: components("processors"),
    exporters: components("exporters"),
    connectors: components("connectors"),
    extensions: components("extensions"),
    service: parsed.data.service,
  };
  checkReferences(config);
  return config;
}

/** `otlp/internal` is a component of type `otlp`. */
export function componentType(id: string): string {
  return id.split("/", 1)[0]!;
}

/** `logs/debug` is a pipeline of logs. */
export function signalOf(pipeline: string): Signal | undefined {
  return SIGNALS.find((signal) => signal === componentType(pipeline));
}

function parseComponents(
  section: string,
  kind: ComponentKind,
  configs: Record<string, unknown>,
): ReadonlyMap<string, unknown> {
  const result = new Map<string, unknown>();
  for (const [id, value] of Object.entries(configs)) {
    const known = factories(kind);
    const factory = known.get(componentType(id));
    if (!factory) {
      throw configError(
        [section],
        `unknown type: "${componentType(id)}" for id: "${id}" (valid values: [${[...known.keys()].join(" ")}])`,
      );
    }
    const parsed = factory.schema.safeParse(value ?? {});
    if (!parsed.success) throw fromZod(parsed.error, [section, id], value);
    result.set(id, parsed.data);
  }
  return result;
}

function fromZod(error: z.ZodError, prefix: readonly PropertyKey[], value: unknown): CollectorError {
  const issue = error.issues[0]!;
  const path = [...prefix, ...issue.path];
  if (issue.code === "unrecognized_keys") return configError(path, `has invalid keys: ${issue.keys.join(", ")}`);
  if (issue.code === "custom") return configError(path, issue.message);
  const found = issue.path.reduce<unknown>(
    (node, key) => (typeof node === "object" && node !== null ? Reflect.get(node, key) : undefined),
    value,
  );
  return configError(path, `${issue.message}${found === undefined ? "" : `, not ${show(path, found)}`}`);
}

/** A value as errors show it: not a secret, and not a page of it. */
function show(path: readonly PropertyKey[], value: unknown): string {
  if (path.some((key) => SECRET.test(String(key)))) return "the value that it has";
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

function checkReferences(config: CollectorConfig): void {
  const { service } = config;
  for (const id of service.extensions) {
    if (!config.extensions.has(id))
      throw configError(["service", "extensions"], `references extension "${id}" which is not configured`);
  }
  if (Object.keys(service.pipelines).length === 0)
    throw configError(["service", "pipelines"], "must have at least one pipeline");
  for (const [name, pipeline] of Object.entries(service.pipelines)) checkPipeline(config, name, pipeline);
  for (const [id, connectorConfig] of config.connectors) checkConnector(config, id, connectorConfig);
  checkAuth(config);
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
  const references: [string, readonly string[], ...ReadonlyMap<string, unknown>[]][] = [
    ["receiver", pipeline.receivers, config.receivers, config.connectors],
    ["processor", pipeline.processors, config.processors],
    ["exporter", pipeline.exporters, config.exporters, config.connectors],
  ];
  for (const [what, ids, ...where] of references) {
    for (const id of ids) {
      if (!where.some((map) => map.has(id)))
        throw configError(path, `references ${what} "${id}" which is not configured`);
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
