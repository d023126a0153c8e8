import { z } from "zod";
import { factories } from "../components.ts";
import { isMap } from "./yaml.ts";
import { SECTIONS, SECTION_NAMES, componentType, documentSchema, type Section } from "./schema.ts";

/** The parts of JSON Schema that are looked at. */
export interface Schema {
  readonly type?: string | readonly string[];
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
}

/** What may stand in a document, in each component that it has. */
export function schemaOf(document: unknown): Schema {
  const schema = jsonSchema(documentSchema);
  const properties: Record<string, Schema> = { ...schema.properties };
  for (const section of SECTION_NAMES) properties[section] = { properties: components(document, section) };
  return { ...schema, properties };
}

function components(document: unknown, section: Section): Record<string, Schema> {
  const configured = isMap(document) && isMap(document[section]) ? document[section] : {};
  const known = factories(SECTIONS[section]);
  return Object.fromEntries(
    Object.keys(configured).flatMap((id): [string, Schema][] => {
      const factory = known.get(componentType(id));
      return factory ? [[id, jsonSchema(factory.schema)]] : [];
    }),
  );
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
