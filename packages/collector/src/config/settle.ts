import { Referred, expand, type ExpandOptions } from "./expand.ts";
import { schemaOf, type Schema } from "./json-schema.ts";
import { isMap } from "./yaml.ts";

/**
 * Expands a document, and gives what references brought the type of its setting, as otelcol does: a port becomes a number,
 * and a password of digits stays the characters that it is (`007`, `1e5`).
 */
export function expandDocument(document: unknown, options: ExpandOptions): unknown {
  const expanded = expand(document, options);
  return settle(expanded, schemaOf(expanded));
}

function settle(value: unknown, schema: Schema | undefined): unknown {
  if (value instanceof Referred) return wantsText(schema) ? value.text : value.typed;
  if (Array.isArray(value)) return value.map((item) => settle(item, schema?.items));
  if (!isMap(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, settle(item, property(schema, key))]));
}

function property({ properties = {}, additionalProperties: others }: Schema = {}, key: string): Schema | undefined {
  if (Object.hasOwn(properties, key)) return properties[key];
  return typeof others === "object" ? others : undefined;
}

function wantsText(schema: Schema | undefined): boolean {
  // A list with one item may be written as that item.
  if (schema?.type === "array") return wantsText(schema.items);
  return [schema?.type].flat().every((type) => type === "string" || type === "null");
}
