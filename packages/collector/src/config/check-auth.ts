import { factories } from "../components.ts";
import { configError } from "../errors.ts";
import { LEDGER } from "./check-audit-path.ts";
import { componentType, type CollectorConfig } from "./schema.ts";

/** What passes on to the ledger who a record's sender is. */
const PROCESSOR = "audit";

/** Authenticators that receivers name exist, and what they find out reaches the ledger. */
export function checkAuth(config: CollectorConfig): void {
  for (const [id, receiver] of config.receivers) {
    const named = authenticators(receiver, ["receivers", id]);
    for (const { path, authenticator } of named) checkAuthenticator(config, path, authenticator);
    if (named.length === 0) continue;
    for (const [name, pipeline] of Object.entries(config.service.pipelines)) {
      if (pipeline.receivers.includes(id)) checkPipeline(config, id, name, new Set());
    }
  }
}

interface Named {
  readonly path: readonly string[];
  readonly authenticator: string;
}

/** Every `auth::authenticator` of a receiver's configuration, wherever its protocols have it. */
function authenticators(config: unknown, path: readonly string[]): readonly Named[] {
  if (typeof config !== "object" || config === null || Array.isArray(config)) return [];
  return Object.entries(config).flatMap(([key, value]): readonly Named[] => {
    const at = [...path, key];
    const authenticator: unknown =
      key === "auth" && typeof value === "object" && value !== null ? Reflect.get(value, "authenticator") : undefined;
    return typeof authenticator === "string"
      ? [{ path: [...at, "authenticator"], authenticator }]
      : authenticators(value, at);
  });
}

function checkAuthenticator(config: CollectorConfig, path: readonly string[], id: string): void {
  if (!config.extensions.has(id)) throw configError(path, `references extension "${id}" which is not configured`);
  if (factories("extension").get(componentType(id))?.authenticates !== true) {
    throw configError(path, `extension "${id}" is no authenticator; use audit_credentials`);
  }
  if (!config.service.extensions.includes(id)) {
    throw configError(path, `extension "${id}" is not in service::extensions, so it would not run`);
  }
}

/** `name` is a pipeline that records reach without an audit processor so far. */
function checkPipeline(config: CollectorConfig, receiver: string, name: string, seen: Set<string>): void {
  const pipeline = config.service.pipelines[name]!;
  if (seen.has(name) || pipeline.processors.some((id) => componentType(id) === PROCESSOR)) return;
  seen.add(name);
  for (const id of pipeline.exporters) {
    if (config.exporters.has(id) && componentType(id) === LEDGER) {
      throw configError(
        ["service", "pipelines", name],
        `exporter "${id}" would store records of receiver "${receiver}" without who sent them: add the "${PROCESSOR}" processor between the two`,
      );
    }
    if (!config.connectors.has(id)) continue;
    for (const [next, { receivers }] of Object.entries(config.service.pipelines)) {
      if (receivers.includes(id)) checkPipeline(config, receiver, next, seen);
    }
  }
}
