import { checkColumns, checkMembers, checkReferences, repeated } from "./check.ts";
import { Loader, RegistryError } from "./load.ts";
import type { Attribute, Group, Registry, SpanType } from "./model.ts";
import { attributeRef, groupRef, type AttributeDefinition, type AttributeReference } from "./schema.ts";

/**
 * Reads and checks the registry.
 *
 * @param root the `conventions` directory, with `registry/` and `upstream/` in it
 * @throws RegistryError with every problem found
 */
export function loadRegistry(root: string): Registry {
  const loader = new Loader(root);
  loader.load();
  const { problems } = loader;
  const groups = resolveGroups(loader);
  const spans = resolveSpans(loader, groups);
  const attributes = resolveAttributes(loader, groups, spans);
  // Once the files themselves are broken, what refers to their contents is noise.
  if (problems.length === 0) {
    checkReferences(attributes, groups, spans, problems);
    checkColumns(attributes, problems);
  }
  if (problems.length > 0) throw new RegistryError(problems);
  return { version: loader.version, attributes, groups, spans };
}

function resolveGroups(loader: Loader): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const { at, value } of loader.groups) {
    if (groups.has(value.id)) loader.problems.push(`${at}.id: "${value.id}" is defined twice`);
    repeated(
      value.attributes.map((a) => a.ref),
      (ref, i) => loader.problems.push(`${at}.attributes[${i}].ref: "${ref}" stands in this group twice`),
    );
    groups.set(value.id, {
      at,
      id: value.id,
      stability: value.stability,
      brief: value.brief,
      references: value.attributes,
    });
  }
  return groups;
}

function resolveSpans(loader: Loader, groups: ReadonlyMap<string, Group>): SpanType[] {
  const spans: SpanType[] = [];
  const seen = new Set<string>();
  for (const { at, value } of loader.spans) {
    if (seen.has(value.type)) loader.problems.push(`${at}.type: "${value.type}" is defined twice`);
    seen.add(value.type);
    const references: AttributeReference[] = [];
    const included: string[] = [];
    // Weaver refuses a span where two groups bring the same attribute; the span's own reference refines a group's.
    const origin = new Map<string, string>();
    value.attributes.forEach((raw, i) => {
      const path = `${at}.attributes[${i}]`;
      if ("ref_group" in raw) {
        const reference = loader.check(path, raw, groupRef);
        if (!reference) return;
        const group = groups.get(reference.ref_group);
        if (!group) loader.problems.push(`${path}.ref_group: no group is called "${reference.ref_group}"`);
        for (const { ref } of group?.references ?? []) {
          const other = origin.get(ref);
          if (other !== undefined) loader.problems.push(`${path}.ref_group: "${ref}" already comes from ${other}`);
          origin.set(ref, reference.ref_group);
        }
        included.push(reference.ref_group);
        return;
      }
      const reference = loader.check(path, raw, attributeRef);
      if (!reference) return;
      if (references.some((r) => r.ref === reference.ref)) {
        loader.problems.push(`${path}.ref: "${reference.ref}" stands in this span twice`);
      }
      references.push(reference);
    });
    const { type, kind, stability, name, brief, note, annotations } = value;
    const control = annotations !== undefined;
    spans.push({ at, type, kind, stability, name: name.note, brief, note, control, groups: included, references });
  }
  return spans;
}

function resolveAttributes(
  loader: Loader,
  groups: ReadonlyMap<string, Group>,
  spans: readonly SpanType[],
): Map<string, Attribute> {
  const { problems } = loader;
  const attributes = new Map<string, Attribute>();
  for (const { at, value } of loader.attributes) {
    if (!value.key.startsWith("audit.")) {
      problems.push(`${at}.key: "${value.key}" is not ours to define; names outside audit.* are referenced`);
    }
    if (attributes.has(value.key)) problems.push(`${at}.key: "${value.key}" is defined twice`);
    const attribute = ownAttribute(at, value);
    checkMembers(attribute, problems);
    attributes.set(value.key, attribute);
  }
  const references = [...[...groups.values()].flatMap((g) => g.references), ...spans.flatMap((s) => s.references)];
  for (const { at, value } of loader.upstream) {
    value.attributes.forEach((definition, i) => {
      if (attributes.has(definition.key)) {
        problems.push(`${at}: attributes[${i}].key: "${definition.key}" is defined twice`);
      }
      const refinements = references.filter((r) => r.ref === definition.key);
      attributes.set(definition.key, {
        ...definition,
        at: `${at}: attributes[${i}]`,
        template: false,
        members: [],
        note: refinements.find((r) => r.note)?.note,
        examples: refinements.find((r) => r.examples)?.examples ?? [],
        annotations: refinements.find((r) => r.annotations)?.annotations?.otel_audit ?? {},
        upstream: { registry: value.registry, docs: value.docs },
      });
    });
  }
  return attributes;
}

function ownAttribute(at: string, value: AttributeDefinition): Attribute {
  const { key, stability, brief, note, examples } = value;
  const wrapped = typeof value.type === "string" ? /^template\[(.*)\]$/.exec(value.type)?.[1] : undefined;
  return {
    at,
    key,
    type: typeof value.type === "string" ? (wrapped ?? value.type) : "string",
    template: wrapped !== undefined,
    members: typeof value.type === "string" ? [] : value.type.members,
    stability,
    brief,
    note,
    examples,
    annotations: value.annotations?.otel_audit ?? {},
    upstream: undefined,
  };
}
