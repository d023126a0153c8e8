import type { Attribute, Group, SpanType } from "./model.ts";

/** Enum members are unique, examples are values of the attribute. */
export function checkMembers(attribute: Attribute, problems: string[]): void {
  const { at } = attribute;
  const values = attribute.members.map((m) => m.value);
  for (const [what, list] of [
    ["id", attribute.members.map((m) => m.id)],
    ["value", values],
  ] as const) {
    repeated(list, (text, i) => problems.push(`${at}.type.members[${i}].${what}: "${text}" stands twice`));
  }
  attribute.examples.forEach((example, i) => {
    if (!fits(attribute, example)) {
      problems.push(`${at}.examples[${i}]: ${JSON.stringify(example)} is not a value of ${attribute.key}`);
    }
  });
  const danger = attribute.annotations.by_danger;
  if (danger && danger.toSorted().join() !== values.toSorted().join()) {
    problems.push(`${at}.annotations.otel_audit.by_danger: must name every member once`);
  }
}

function fits(attribute: Attribute, example: unknown): boolean {
  if (attribute.members.length > 0) return attribute.members.some((m) => m.value === example);
  if (attribute.type.endsWith("[]")) {
    const element = { ...attribute, type: attribute.type.slice(0, -2) };
    return Array.isArray(example) && example.every((e) => fits(element, e));
  }
  if (attribute.type === "int") return Number.isInteger(example);
  if (attribute.type === "double") return typeof example === "number";
  return typeof example === attribute.type;
}

/** Every reference leads somewhere, and every attribute of ours is referred to. */
export function checkReferences(
  attributes: ReadonlyMap<string, Attribute>,
  groups: ReadonlyMap<string, Group>,
  spans: readonly SpanType[],
  problems: string[],
): void {
  const referenced = new Set<string>();
  for (const { at, references } of [...groups.values(), ...spans]) {
    for (const { ref } of references) {
      referenced.add(ref);
      const attribute = attributes.get(ref);
      if (!attribute) {
        problems.push(`${at}.attributes: ref "${ref}" is neither in registry/ nor in upstream/`);
      } else if (attribute.examples.length === 0) {
        problems.push(`${at}.attributes: ref "${ref}" needs examples`);
      }
    }
  }
  for (const attribute of attributes.values()) {
    if (!attribute.upstream && !referenced.has(attribute.key)) {
      problems.push(`${attribute.at}.key: no group and no span refers to "${attribute.key}"`);
    }
  }
}

/** A column belongs to one attribute, and a typed copy holds text. */
export function checkColumns(attributes: ReadonlyMap<string, Attribute>, problems: string[]): void {
  const owners = new Map<string, string>();
  for (const { at, key, type, annotations } of attributes.values()) {
    const column = annotations.column ?? annotations.row_column;
    if (column === undefined) continue;
    const other = owners.get(column);
    if (other !== undefined)
      problems.push(`${at}.annotations.otel_audit: column ${column} already belongs to ${other}`);
    owners.set(column, key);
    if (annotations.column !== undefined && type !== "string" && type !== "string[]") {
      problems.push(`${at}.annotations.otel_audit: column ${column} holds strings, ${key} is ${type}`);
    }
  }
}

/** Reports every entry that stands earlier in the list too. */
export function repeated(list: readonly string[], report: (text: string, index: number) => void): void {
  list.forEach((text, i) => {
    if (list.indexOf(text) !== i) report(text, i);
  });
}
