import { type AttributeList, ValueKind } from "@otel-audit/otlp";
import { COLLECTOR_ONLY, PLAIN, classifyKey, needsQualifier } from "./attribute-keys.ts";
import { cutAt } from "./byte-buffer.ts";
import type { EntryTable } from "./entry-table.ts";
import { type KeyShape, KeyShapes } from "./key-shape.ts";
import type { RecordNotes } from "./record-notes.ts";
import { LIMITS, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import { ValueWriter } from "./value-text.ts";

const values = new ValueWriter();
const shapes = new KeyShapes();

/** Row of the AttributeList that fills each typed column, -1 for none. */
export class TypedIndex {
  readonly #own = new Int32Array(TYPED_COLUMNS.length);
  row: Int32Array = this.#own;

  clear(): void {
    this.row = this.#own.fill(-1);
  }
}

/** As `fillMap` for a span's own attributes, with a look at what the same keys meant the last time. */
export function fillSpanMap(
  table: EntryTable,
  notes: RecordNotes,
  bytes: Uint8Array,
  list: AttributeList,
  typed: TypedIndex,
): boolean {
  const shape = notes.stage === 2 ? undefined : shapes.find(bytes, list);
  if (shape === undefined) {
    typed.clear();
    return fillMap(table, notes, bytes, list, "", typed);
  }
  typed.row = shape.typed;
  fillShape(table, notes, bytes, list, shape);
  return true;
}

function fillShape(
  table: EntryTable,
  notes: RecordNotes,
  bytes: Uint8Array,
  list: AttributeList,
  { plain }: KeyShape,
): void {
  let budget: number = LIMITS.record;
  for (let i = 0; i < plain.length && budget > 0; i++) {
    const row = plain[i]!;
    // No key of a shape is like a name of ours.
    budget -= list.keyEnd[row]! - list.keyStart[row]! + addEntry(table, notes, bytes, list, row, "");
  }
  if (budget <= 0) notes.overflow = true;
}

/**
 * Fills a map's entries from attributes (rules E5, E6, E8, E9).
 *
 * @param qualifier what stands before the key in notes: empty for the span's own attributes, `resource:`, `event:0:` …
 * @param typed takes the attributes that have a column of their own; undefined to leave them in the map
 * @returns false when some were left out because there are too many or their keys are too long
 */
export function fillMap(
  table: EntryTable,
  notes: RecordNotes,
  bytes: Uint8Array,
  list: AttributeList,
  qualifier: string,
  typed: TypedIndex | undefined,
): boolean {
  let complete = true;
  let budget: number = LIMITS.record;
  for (let row = 0; row < list.count; row++) {
    const keyStart = list.keyStart[row]!;
    const keyEnd = list.keyEnd[row]!;
    const known = classifyKey(bytes, keyStart, keyEnd);
    if (known === COLLECTOR_ONLY) {
      notes.flags |= RowFlag.CollectorAttributeStripped;
    } else if (known !== PLAIN && typed !== undefined) {
      if (typed.row[known] === -1) typed.row[known] = row;
      else notes.flags |= RowFlag.RepeatedKey;
    } else if (notes.stage === 2) {
      complete = false;
    } else if (table.isRepeated(bytes, keyStart, keyEnd)) {
      notes.flags |= RowFlag.RepeatedKey;
    } else if (table.count >= LIMITS.attributes || keyEnd - keyStart > LIMITS.key) {
      complete = false;
    } else if (budget > 0) {
      const before = qualifier === "" && needsQualifier(bytes, keyStart, keyEnd) ? "span:" : qualifier;
      budget -= keyEnd - keyStart + addEntry(table, notes, bytes, list, row, before);
    }
  }
  // The record is too large, and is encoded again with shorter values.
  if (budget <= 0) notes.overflow = true;
  return complete;
}

/** `before` stands before the key in notes. Returns the length of the value's text. */
function addEntry(
  table: EntryTable,
  notes: RecordNotes,
  bytes: Uint8Array,
  list: AttributeList,
  row: number,
  before: string,
): number {
  const keyStart = list.keyStart[row]!;
  const keyEnd = list.keyEnd[row]!;
  const kind = list.kind[row]!;
  const start = list.valueStart[row]!;
  const end = list.valueEnd[row]!;
  const limit = notes.valueLimit;
  if (kind === ValueKind.String) {
    const cut = cutAt(bytes, start, end, limit);
    table.add(keyStart, keyEnd, false, start, cut, false);
    if (cut !== end) notes.noteCut(before, bytes, keyStart, keyEnd, bytes, start, end);
    return cut - start;
  }
  const own = table.own;
  const at = own.length;
  const whole = writeText(own, notes, bytes, kind, start, end, limit);
  table.add(keyStart, keyEnd, false, at, own.length, true);
  notes.noteType(before, bytes, keyStart, keyEnd, kind);
  if (!whole) notes.noteCut(before, bytes, keyStart, keyEnd, bytes, start, end);
  return own.length - at;
}

/** Writes a value's text, at most `limit` bytes. Returns false when that is not the whole of it. */
export function writeText(
  out: EntryTable["own"],
  notes: RecordNotes,
  bytes: Uint8Array,
  kind: number,
  start: number,
  end: number,
  limit: number,
): boolean {
  const at = out.length;
  values.write(out, bytes, kind, start, end, limit);
  if (values.repeatedKey) notes.flags |= RowFlag.RepeatedKey;
  const cut = cutAt(out.bytes, at, out.length, limit);
  const whole = cut === out.length && !values.incomplete;
  out.length = cut;
  return whole;
}
