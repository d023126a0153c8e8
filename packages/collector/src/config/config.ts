import type { z } from "zod";
import { configError, type CollectorError } from "../errors.ts";
import { factories, type ComponentKind } from "../components.ts";
import { checkReferences } from "./check.ts";
import { componentRefusal } from "./refused-components.ts";
import { settingRefusal } from "./refused-settings.ts";
import { SECTIONS, componentType, documentSchema, type CollectorConfig, type Section } from "./schema.ts";
import { redact } from "./secret.ts";
import { expandDocument } from "./settle.ts";
import { parseYaml } from "./yaml.ts";

/** Characters of a wrong value in an error. */
const MAX_SHOWN = 200;

/**
 * Parses and validates a configuration in otelcol's YAML.
 *
 * @param text the YAML; `${env:NAME:-default}` and `${file:PATH}` are expanded, variables from `options.env` (default: the environment of the process)
 * @throws CollectorError `INVALID_CONFIG` with the YAML path (or file, line and column) and the offending value
 */
export function parseConfig(
  text: string,
  options: { file?: string; env?: Readonly<Record<string, string | undefined>> } = {},
): CollectorConfig {
  const document = parseYaml(text, options.file ?? "configuration");
  return parseDocument(expandDocument(document, { env: options.env ?? process.env }));
}

/** Validates what was read, merged and expanded. @throws CollectorError as `parseConfig` */
export function parseDocument(document: unknown): CollectorConfig {
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
      const reason = componentRefusal(kind, componentType(id));
      if (reason !== undefined) throw configError([section, id], `is not a component of this collector: ${reason}`);
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

const RECEIVED_NOTHING = /received (?:undefined|null)$/;

function fromZod(error: z.ZodError, prefix: readonly PropertyKey[], value: unknown): CollectorError {
  const issue = error.issues[0]!;
  const path = [...prefix, ...issue.path];
  if (issue.code === "unrecognized_keys") return unknownKeys(path, issue.keys);
  if (issue.code === "custom") return configError(path, issue.message);
  const found = issue.path.reduce<unknown>(
    (node, key) => (typeof node === "object" && node !== null ? Reflect.get(node, key) : undefined),
    value,
  );
  if (found !== undefined && found !== null) return configError(path, `${issue.message}, not ${show(path, found)}`);
  // The path is that of what the schema made of a value: of a single one a list, perhaps.
  if (issue.code === "invalid_type" && !RECEIVED_NOTHING.test(issue.message)) return configError(path, issue.message);
  // An empty file, or a key with nothing behind it.
  const wanted = issue.code === "invalid_type" ? issue.expected : "value";
  return configError(path, `is missing or empty: ${/^[aeiou]/.test(wanted) ? "an" : "a"} ${wanted} is needed`);
}

/** Those of otelcol with the reason why they are not here. */
function unknownKeys(path: readonly PropertyKey[], keys: readonly string[]): CollectorError {
  const type = path[0] === "service" ? "service" : componentType(String(path[1]));
  for (const key of keys) {
    const at = [...path, key];
    const reason = settingRefusal(type, at);
    if (reason !== undefined) return configError(at, `is not a setting of this collector: ${reason}`);
  }
  return configError(path, `has invalid keys: ${keys.join(", ")}`);
}

/** A value as errors show it: not a secret, and not a page of it. */
function show(path: readonly PropertyKey[], value: unknown): string {
  const text = JSON.stringify(redact(value, path));
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
