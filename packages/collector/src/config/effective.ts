import { stringify } from "yaml";
import { isMap, schemaOf, type Schema } from "./json-schema.ts";
import { isSecret } from "./secret.ts";
import { MAX_NESTING } from "./yaml.ts";

/** As otelcol writes it. */
const REDACTED = "[REDACTED]";
const PASSWORD_IN_URL = /(:\/\/[^/\s:@]*):[^/\s@]*@/g;
/** Section, component, setting. */
const SETTINGS_DEPTH = 2;

/** The configuration as it works: merged, expanded, with every default, as YAML without secrets. */
export function effectiveConfig(document: unknown): string {
  return stringify(redact(withDefaults(document, schemaOf(document)), false), {
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
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
