import type { AuditAction } from "@otel-audit/semantic-conventions";

import { Collector, type SqlTable } from "./collector.ts";
import { type UnclassifiedReason, parseSql } from "./parser.ts";
import { TextCache } from "./text-cache.ts";

export type { SqlTable } from "./collector.ts";

/** What a text of one or several statements does, without any literal or parameter of it. */
export interface SqlClassification {
  /** The most dangerous of what it does: EXECUTE > DELETE > UPDATE > CREATE > WRITE > READ. */
  readonly action: AuditAction;
  /** `SELECT`, `CREATE TABLE`, …: each once, in order. */
  readonly operations: readonly string[];
  /** Each table once for each access, written ones first. Names of CTEs are not among them. */
  readonly tables: readonly SqlTable[];
  /** It also, or only, acts on the database as a whole: DO, CALL, server functions, no table at all. */
  readonly database: boolean;
  /** `db.query.summary`: `SELECT orders customers`; at most 255 characters. */
  readonly summary: string;
  /** Nothing but BEGIN, COMMIT, SET, SHOW, `SELECT 1` and such. */
  readonly ignorable: boolean;
  /** Set when the text was not understood: it is then an EXECUTE on the database. */
  readonly unclassified?: UnclassifiedReason;
}

const cache = new TextCache<SqlClassification>({
  maxEntries: 2000,
  maxTextLength: 16 * 1024,
  maxTotalLength: 2 * 1024 * 1024,
});

/**
 * Says what a SQL text does, by PostgreSQL's own grammar. Never throws, whatever it is given: what is not understood
 * (invalid, huge, no text) is an EXECUTE on the database, so that a policy has to allow it explicitly.
 *
 * A pure function of the text: search_path, rewriting rules, triggers and what functions do are the server's.
 */
export function classifySql(text: unknown): SqlClassification {
  if (typeof text !== "string") return unclassified("invalid");
  const known = cache.get(text);
  if (known !== undefined) return known;
  const classification = classify(text);
  // Without the parser the answer is for now, not for this text.
  if (classification.unclassified !== "no_parser") cache.set(text, classification);
  return classification;
}

function classify(text: string): SqlClassification {
  const parsed = parseSql(text);
  if (parsed.reason !== undefined) return unclassified(parsed.reason);
  try {
    const collector = new Collector();
    for (const statement of parsed.statements) collector.statement(statement);
    return collector.result();
  } catch {
    // Nested too deeply for the stack that the caller left us.
    return unclassified("too_deep");
  }
}

const UNCLASSIFIED = new Map<UnclassifiedReason, SqlClassification>();

function unclassified(reason: UnclassifiedReason): SqlClassification {
  let classification = UNCLASSIFIED.get(reason);
  if (classification === undefined) {
    classification = {
      action: "EXECUTE",
      operations: [],
      tables: [],
      database: true,
      summary: "",
      ignorable: false,
      unclassified: reason,
    };
    UNCLASSIFIED.set(reason, classification);
  }
  return classification;
}
