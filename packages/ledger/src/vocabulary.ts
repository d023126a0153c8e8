import {
  AUDIT_ACTION_VALUES,
  AUDIT_OUTCOME_VALUES,
  AUDIT_POLICY_DECISION_VALUES,
  AUDIT_POLICY_ENFORCEMENT_VALUES,
} from "@otel-audit/semantic-conventions";
import { TypedColumns } from "./typed-columns.ts";

const encoder = new TextEncoder();

/** A column whose values are a closed list, each found by its length and first byte: one comparison decides. */
class ClosedColumn {
  readonly #column: number;
  readonly #mayBeEmpty: boolean;
  readonly #words = new Map<number, Uint8Array>();

  constructor(name: string, values: readonly string[], { mayBeEmpty }: { mayBeEmpty: boolean }) {
    this.#column = TypedColumns.find(name);
    this.#mayBeEmpty = mayBeEmpty;
    for (const word of values.map((value) => encoder.encode(value)))
      this.#words.set((word.length << 8) | word[0]!, word);
    if (this.#words.size !== values.length) throw new Error(`${name}: two values begin alike and are as long`);
  }

  has(columns: TypedColumns): boolean {
    const column = this.#column;
    if (columns.isEmpty(column)) return this.#mayBeEmpty;
    const start = columns.start[column]!;
    const word = this.#words.get(((columns.end[column]! - start) << 8) | columns.bytesOf(column)[start]!);
    return word !== undefined && columns.is(column, word);
  }
}

/** Those that queries, views and dashboards count by. */
const CLOSED = [
  new ClosedColumn("Action", AUDIT_ACTION_VALUES, { mayBeEmpty: false }),
  new ClosedColumn("Outcome", AUDIT_OUTCOME_VALUES, { mayBeEmpty: true }),
  new ClosedColumn("PolicyDecision", AUDIT_POLICY_DECISION_VALUES, { mayBeEmpty: true }),
  new ClosedColumn("PolicyEnforcement", AUDIT_POLICY_ENFORCEMENT_VALUES, { mayBeEmpty: true }),
];

/** Whether a record's closed columns hold only what the vocabulary has. */
export function isOfVocabulary(columns: TypedColumns): boolean {
  for (const column of CLOSED) if (!column.has(columns)) return false;
  return true;
}
