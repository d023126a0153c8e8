import { loadModule, parseSync, SqlError } from "libpg-query";

import type { UnclassifiedReason } from "./classification.ts";
import { nestingBound } from "./complexity.ts";

/** Texts above this many UTF-16 units are not parsed: a parse costs about half a millisecond per KiB. */
export const MAX_SQL_LENGTH = 128 * 1024;
/** Texts that may nest deeper than this are not parsed; PostgreSQL's parser in WebAssembly traps at about 6,000. */
const MAX_NESTING = 1500;

/** A node of libpg-query's tree: protobuf JSON of PostgreSQL's own. */
export type SqlNode = Readonly<Record<string, unknown>>;

export type ParsedSql =
  | { readonly statements: readonly SqlNode[]; readonly reason?: undefined }
  | { readonly statements?: undefined; readonly reason: UnclassifiedReason };

/** A trapped module answers on, but leaks its stack: after some two dozen traps it was seen to loop for ever. */
const MAX_TRAPS = 5;

let state: "unloaded" | "loaded" | "broken" = "unloaded";
let traps = 0;

/** Loads PostgreSQL's parser (1.8 MB of WebAssembly). Never rejects: without it every statement is unclassified. */
export async function loadSqlParser(): Promise<void> {
  try {
    await loadModule();
    if (state === "unloaded") state = "loaded";
  } catch {
    state = "broken";
  }
}

/** The statements of a text, each as `{ <kind>: node }`. Never throws; time and memory are bounded by the text's limit. */
export function parseSql(text: string): ParsedSql {
  if (state !== "loaded") return { reason: "no_parser" };
  if (text.length > MAX_SQL_LENGTH) return { reason: "too_long" };
  // The C code would stop at a NUL and judge only what is before it.
  if (text.includes("\0")) return { reason: "invalid" };
  if (nestingBound(text) > MAX_NESTING) return { reason: "too_deep" };
  if (text === "") return { statements: [] };
  try {
    const tree = parseSync(text) as { stmts?: readonly { stmt?: SqlNode }[] };
    return { statements: (tree.stmts ?? []).flatMap(({ stmt }) => (stmt === undefined ? [] : [stmt])) };
  } catch (error) {
    if (error instanceof SqlError) return { reason: "invalid" };
    // The caller's own stack was nearly used up.
    traps++;
    if (traps >= MAX_TRAPS) state = "broken";
    return { reason: "too_deep" };
  }
}
