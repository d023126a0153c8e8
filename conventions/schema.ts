import { z } from "zod";

// The part of Weaver's `definition/2` that this registry uses, strict, so that a misspelt key is an error and not silence.

const stability = z.enum(["stable", "release_candidate", "beta", "alpha", "development"]);
const brief = z.string().trim().min(1, "must say something");
const note = z.string().trim().min(1, "must say something").optional();
const key = z.string().regex(/^[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)*$/, "must be lower-case words joined by dots");
const scalar = z.union([z.string(), z.number(), z.boolean()]);
const examples = z.array(z.union([scalar, z.array(scalar).min(1)])).min(1, "must hold at least one example");
const primitive = z.enum(["string", "int", "double", "boolean", "string[]", "int[]", "double[]", "boolean[]"]);
const template = z.enum(["template[string]", "template[int]", "template[string[]]"]);

/** What only this project needs to know of an attribute. Weaver carries annotations along unread. */
const annotations = z.strictObject({
  otel_audit: z.strictObject({
    column: z.string().min(1).optional(),
    row_column: z.string().min(1).optional(),
    collector_only: z.literal(true).optional(),
    by_danger: z.array(z.string()).optional(),
    known_values: z.record(key, brief).optional(),
  }),
});

/** The same of a span: a record about the audit itself and not about what an agent did. */
const spanAnnotations = z.strictObject({ otel_audit: z.strictObject({ control: z.literal(true) }) });

const member = z.strictObject({ id: key, value: z.string().min(1), stability, brief, note });

const requirementLevel = z.union([
  z.enum(["required", "recommended", "opt_in"]),
  z.strictObject({ conditionally_required: z.string().trim().min(1) }),
]);

const attribute = z.strictObject({
  key,
  type: z.union([primitive, template, z.strictObject({ members: z.array(member).min(1) })]),
  stability,
  brief,
  note,
  examples,
  annotations: annotations.optional(),
});

const attributeRef = z.strictObject({
  ref: key,
  requirement_level: requirementLevel,
  brief: brief.optional(),
  note,
  examples: examples.optional(),
  annotations: annotations.optional(),
});

const groupRef = z.strictObject({ ref_group: z.string() });

const group = z.strictObject({
  id: z.string().min(1),
  visibility: z.literal("public"),
  stability,
  brief,
  note,
  attributes: z.array(attributeRef).min(1),
});

const span = z.strictObject({
  type: key,
  kind: z.enum(["client", "server", "producer", "consumer", "internal"]),
  stability,
  name: z.strictObject({ note: z.string().min(1) }),
  brief,
  note,
  annotations: spanAnnotations.optional(),
  // Told apart by hand: a union would only say "invalid input" of a reference with one misspelt key.
  attributes: z.array(z.looseObject({})),
});

export const definitionFile = z.strictObject({
  file_format: z.literal("definition/2"),
  attributes: z.array(attribute).optional(),
  attribute_groups: z.array(group).optional(),
  spans: z.array(span).optional(),
});

export const manifestFile = z.strictObject({
  schema_url: z.string().regex(/^https?:\/\/.+\/\d+\.\d+\.\d+$/, "must be a URL that ends in a version"),
  description: brief,
  stability,
  dependencies: z.array(z.strictObject({ schema_url: z.string(), registry_path: z.string() })).min(1),
});

export const upstreamFile = z.strictObject({
  registry: z.string().min(1),
  schema_url: z.string().min(1),
  docs: z.string().min(1),
  attributes: z.array(z.strictObject({ key, type: primitive, stability, brief })).min(1),
});

export { attributeRef, groupRef };

export type AttributeDefinition = z.infer<typeof attribute>;
export type AttributeReference = z.infer<typeof attributeRef>;
export type GroupDefinition = z.infer<typeof group>;
export type SpanDefinition = z.infer<typeof span>;
export type UpstreamFile = z.infer<typeof upstreamFile>;
export type RequirementLevel = z.infer<typeof requirementLevel>;
export type Annotations = z.infer<typeof annotations>["otel_audit"];
