import type { SqlClassification, UnclassifiedReason } from "./classification.ts";
import { Collector } from "./collector.ts";
import { parseSql } from "./parser.ts";
import { TextCache } from "./text-cache.ts";

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
    for (const statement of parsed.statements) collector.statement(statement, parsed.statements.length === 1);
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
