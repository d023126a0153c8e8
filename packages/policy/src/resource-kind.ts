/** What a resource may protect: the keys of a resource in the document. */
export type ResourceKind = "http" | "db" | "file" | "tool" | "process" | "socket";

export const RESOURCE_KINDS: readonly ResourceKind[] = ["http", "db", "file", "tool", "process", "socket"];
