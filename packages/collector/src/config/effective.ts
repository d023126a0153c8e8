import { stringify } from "yaml";
import { z } from "zod";
import { factories } from "../components.ts";
import { SECTIONS, componentType, documentSchema, type Section } from "./schema.ts";
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
}

/** The configuration as it works: merged, expanded, with every default, as YAML without secrets. */
export function effectiveConfig(document: unknown): string {
  const filled = withDefaults(document, jsonSchema(documentSchema));
  const effective = isMap(filled)
    ? Object.fromEntries(Object.entries(filled).map(([section, value]) => [section, sectionDefaults(section, value)]))
    : filled;
  return stringify(redact(effective, false), { lineWidth: 0, aliasDuplicateObjects: false });
}

function sectionDefaults(section: string, value: unknown): unknown {
  if (!isMap(value) || !isSection(section)) return value;
  const known = factories(SECTIONS[section]);
  return Object.fromEntries(
    Object.entries(value).map(([id, config]) => {
      const factory = known.get(componentType(id));
      return [id, factory ? withDefaults(config ?? {}, jsonSchema(factory.schema)) : config];
    }),
  );
}

function isSection(key: string): key is Section {
  return Object.hasOwn(SECTIONS, key);
}

/** What is written in YAML, before a schema turns it into what the code works with. */
function jsonSchema(schema: z.ZodType): Schema {
  const options: Parameters<typeof z.toJSONSchema>[1] = {
    io: "input",
    unrepresentable: "any",
    reused: "inline",
    // A preprocessed value may be anything; what it becomes tells which settings there are.
    override: ({ zodSchema: { _zod: inner }, jsonSchema: json }) => {
      if (inner.def.type !== "pipe" || !("in" in inner.def) || !("out" in inner.def)) return;
      const { in: before, out: after } = inner.def;
      if (before instanceof z.ZodTransform && after instanceof z.ZodType)
        Object.assign(json, z.toJSONSchema(after, options));
    },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parts of JSON Schema that are looked at
  return z.toJSONSchema(schema, options) as Schema;
}

function withDefaults(value: unknown, { properties, default: fallback }: Schema, depth = 0): unknown {
  if (depth > MAX_NESTING) return value;
  // A key without a value stands for all defaults.
  const present = value === null && properties ? {} : (value ?? fallback);
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
