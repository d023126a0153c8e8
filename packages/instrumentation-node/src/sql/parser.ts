import type * as PgQuery from "libpg-query";

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

/** What parses, once it is loaded and as long as it works. */
let parser: typeof PgQuery | undefined;
let loading: Promise<void> | undefined;
let traps = 0;

/**
 * Loads PostgreSQL's parser (1.8 MB of WebAssembly, 20 ms and 8 MiB), once. Never rejects: without it every statement
 * is unclassified.
 */
export function loadSqlParser(): Promise<void> {
  return (loading ??= load());
}

async function load(): Promise<void> {
  try {
    const library = await import("libpg-query");
    await library.loadModule();
    parser = library;
  } catch {
    // `no_parser` in every record says so.
  }
}

/** The statements of a text, each as `{ <kind>: node }`. Never throws; time and memory are bounded by the text's limit. */
export function parseSql(text: string): ParsedSql {
  if (parser === undefined) return { reason: "no_parser" };
  if (text.length > MAX_SQL_LENGTH) return { reason: "too_long" };
  // The C code would stop at a NUL and judge only what is before it.
  if (text.includes("\0")) return { reason: "invalid" };
  if (nestingBound(text) > MAX_NESTING) return { reason: "too_deep" };
  if (text === "") return { statements: [] };
  try {
    const tree = parser.parseSync(text) as { stmts?: readonly { stmt?: SqlNode }[] };
    return { statements: (tree.stmts ?? []).flatMap(({ stmt }) => (stmt === undefined ? [] : [stmt])) };
  } catch (error) {
    if (error instanceof parser.SqlError) return { reason: "invalid" };
    // The caller's own stack was nearly used up.
    traps++;
    if (traps >= MAX_TRAPS) parser = undefined;
    return { reason: "too_deep" };
  }
}
