import type { SqlNode } from "./parser.ts";

export function isNode(value: unknown): value is SqlNode {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The strings of a list of String nodes: a qualified name. */
export function strings(path: readonly unknown[]): string[] {
  return path.flatMap((part) => {
    const value = isNode(part) && isNode(part["String"]) ? part["String"]["sval"] : undefined;
    return typeof value === "string" ? [value] : [];
  });
}
