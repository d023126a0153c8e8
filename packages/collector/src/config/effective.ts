import { stringify } from "yaml";
import { schemaOf, type Schema } from "./json-schema.ts";
import { redact } from "./secret.ts";
import { MAX_NESTING, isMap } from "./yaml.ts";

/** The configuration as it works: merged, expanded, with every default, as YAML without secrets. */
export function effectiveConfig(document: unknown): string {
  return stringify(redact(withDefaults(document, schemaOf(document)), []), {
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
