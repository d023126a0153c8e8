import { stringify } from "yaml";
import { z } from "zod";
import { factories } from "../components.ts";
import { SECTIONS, componentType, documentSchema } from "./schema.ts";
import { isSecret } from "./secret.ts";
import { MAX_NESTING } from "./yaml.ts";

/** As otelcol writes it. */
const REDACTED = "[REDACTED]";
const PASSWORD_IN_URL = /(:\/\/[^/\s:@]*):[^/\s@]*@/g;
/** Section, component, setting. */
const SETTINGS_DEPTH = 2;

interface Schema {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly anyOf?: readonly Schema[];
}

/** The configuration as it works: merged, expanded, with every default, as YAML without secrets. */
export function effectiveConfig(document: unknown): string {
  const filled = withDefaults(document, jsonSchema(documentSchema));
  if (isMap(filled)) {
    for (const [section, kind] of Object.entries(SECTIONS)) {
      const components = filled[section];
      if (!isMap(components)) continue;
      for (const [id, config] of Object.entries(components)) {
        const factory = factories(kind).get(componentType(id));
        if (factory) components[id] = withDefaults(config ?? {}, jsonSchema(factory.schema));
      }
    }
  }
  return stringify(redact(filled, false), { lineWidth: 0, aliasDuplicateObjects: false });
}

/** What is written in YAML, before a schema turns it into what the code works with. */
function jsonSchema(schema: z.ZodType): Schema {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parts of JSON Schema that are looked at
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any", reused: "inline" }) as Schema;
}

function withDefaults(value: unknown, schema: Schema, depth = 0): unknown {
  if (depth > MAX_NESTING) return value;
  const present = value ?? schema.default;
  const { properties } = schema;
  if (!isMap(present) || !properties) return present;
  const result: Record<string, unknown> = { ...present };
  for (const [key, inner] of Object.entries(properties)) {
    const filled = withDefaults(result[key], inner, depth + 1);
    if (filled !== undefined) result[key] = filled;
  }
  return result;
}

function redact(value: unknown, secret: boolean, depth = 0): unknown {
  if (Array.isArray(value)) return value.map((item) => redact(item, secret, depth));
  if (isMap(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        // A component may have any name.
        const hidden = secret || (depth >= SETTINGS_DEPTH && isSecret(key));
        return [key, redact(item, hidden, depth + 1)];
      }),
    );
  }
  if (secret && (typeof value === "string" || typeof value === "number")) return REDACTED;
  return typeof value === "string" ? value.replace(PASSWORD_IN_URL, `$1:${REDACTED}@`) : value;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
