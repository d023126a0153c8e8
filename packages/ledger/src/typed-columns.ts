import { type AttributeList, ValueKind } from "@otel-audit/otlp";
import type { TypedIndex } from "./attribute-map.ts";
import { writeText } from "./attribute-map.ts";
import { ByteBuffer, cutAt } from "./byte-buffer.ts";
import type { RecordNotes } from "./record-notes.ts";
import { LIMITS, TYPED_COLUMNS, type TypedColumn } from "./row-format.ts";
import { stringElements } from "./value-text.ts";

const COUNT = TYPED_COLUMNS.length;
const IS_STRING = Uint8Array.from(TYPED_COLUMNS, ({ entries }) => (entries === undefined ? 1 : 0));
const scratch = new ByteBuffer(LIMITS.column);

/**
 * The typed columns of one record as they will be stored: text for a string column, RowBinary for an array column. They
 * are known before anything is written, because the collector judges exactly what it stores. What stands in the request
 * as it will be stored is not copied.
 */
export class TypedColumns {
  /** Where each column stands in the bytes that `bytesOf` gives. */
  readonly start = new Uint32Array(COUNT);
  readonly end = new Uint32Array(COUNT);
  /** Name of an attribute that a policy looks at and that was cut, or undefined. */
  cut: string | undefined;
  /** What does not stand in the request. */
  readonly #made = new ByteBuffer(1024);
  /** 1 for a column in `#made`. */
  readonly #isMade = new Uint8Array(COUNT);
  #request: Uint8Array = this.#made.bytes;
  readonly #elements: number[] = [];

  /** Column number by its name. */
  static find(column: string): number {
    return TYPED_COLUMNS.findIndex((typed) => typed.column === column);
  }

  fill(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, typed: TypedIndex): void {
    this.#made.clear();
    this.cut = undefined;
    this.#request = bytes;
    const { start, end } = this;
    for (let i = 0; i < COUNT; i++) {
      const row = typed.row[i]!;
      if (row < 0) {
        start[i] = end[i] = 0;
      } else if (list.kind[row] === ValueKind.String && IS_STRING[i] === 1) {
        this.#isMade[i] = 0;
        start[i] = list.valueStart[row]!;
        end[i] = this.#cutString(notes, bytes, list, row, TYPED_COLUMNS[i]!);
      } else {
        this.#isMade[i] = 1;
        start[i] = this.#made.length;
        this.#make(notes, bytes, list, row, TYPED_COLUMNS[i]!);
        end[i] = this.#made.length;
      }
    }
  }

  isEmpty(i: number): boolean {
    return this.start[i] === this.end[i];
  }

  /** The bytes of which a column is [start, end). */
  bytesOf(i: number): Uint8Array {
    return this.#isMade[i] === 1 ? this.#made.bytes : this.#request;
  }

  /** Whether a string column is exactly this text. */
  is(i: number, text: Uint8Array): boolean {
    const start = this.start[i]!;
    if (this.end[i]! - start !== text.length) return false;
    const bytes = this.bytesOf(i);
    for (let at = 0; at < text.length; at++) if (bytes[start + at] !== text[at]) return false;
    return true;
  }

  /** Replaces a column's text by our own words. */
  replace(i: number, text: string): void {
    this.#isMade[i] = 1;
    this.start[i] = this.#made.length;
    this.#made.ascii(text);
    this.end[i] = this.#made.length;
  }

  /** The text of a string column; what is not UTF-8 as U+FFFD. */
  text(i: number): string {
    return utf8(this.bytesOf(i), this.start[i]!, this.end[i]!);
  }

  /** The entries of an array column. */
  texts(i: number): string[] {
    if (this.isEmpty(i)) return [];
    const bytes = this.bytesOf(i);
    const texts: string[] = [];
    let at = this.start[i]!;
    const varint = (): number => {
      let value = 0;
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[at++]!;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    for (let count = varint(); count > 0; count--) {
      const length = varint();
      texts.push(utf8(bytes, at, at + length));
      at += length;
    }
    return texts;
  }

  /** Writes the RowBinary of columns `from` to `to`, both inclusive. */
  write(out: ByteBuffer, from: number, to: number): void {
    const request = this.#request;
    for (let i = from; i <= to; i++) {
      const start = this.start[i]!;
      const end = this.end[i]!;
      if (start === end) {
        // No text, and no array: both begin with how long they are.
        out.byte(0);
      } else if (this.#isMade[i] === 0) {
        out.string(request, start, end);
      } else {
        if (IS_STRING[i] === 1) out.varint(end - start);
        out.copyFrom(this.#made, start, end);
      }
    }
  }

  /** Returns where the text of a string value ends. */
  #cutString(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, row: number, column: TypedColumn): number {
    const start = list.valueStart[row]!;
    const end = list.valueEnd[row]!;
    if (start === end) notes.noteEmpty(bytes, list.keyStart[row]!, list.keyEnd[row]!);
    const cut = cutAt(bytes, start, end, column.max);
    if (cut !== end) this.#noteCut(notes, bytes, list, row, column);
    return cut;
  }

  #make(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, row: number, column: TypedColumn): void {
    if (column.entries !== undefined) {
      this.#fillArray(notes, bytes, list, row, column);
      return;
    }
    const kind = list.kind[row]!;
    const whole = writeText(this.#made, notes, bytes, kind, list.valueStart[row]!, list.valueEnd[row]!, column.max);
    notes.noteType("", bytes, list.keyStart[row]!, list.keyEnd[row]!, kind);
    if (!whole) this.#noteCut(notes, bytes, list, row, column);
  }

  #fillArray(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, row: number, column: TypedColumn): void {
    const kind = list.kind[row]!;
    if (kind === ValueKind.Empty) {
      notes.noteType("", bytes, list.keyStart[row]!, list.keyEnd[row]!, kind);
      return;
    }
    const start = list.valueStart[row]!;
    const end = list.valueEnd[row]!;
    const max = notes.stage === 2 ? Math.min(column.entries!, LIMITS.reducedTargets) : column.entries!;
    const count = kind === ValueKind.Array ? stringElements(bytes, start, end, max, this.#elements) : -1;
    let whole = count <= max;
    if (count >= 0) {
      this.#made.varint(Math.min(count, max));
      for (let i = 0; i < this.#elements.length; i += 2) {
        const from = this.#elements[i]!;
        const to = this.#elements[i + 1]!;
        const cut = cutAt(bytes, from, to, column.max);
        this.#made.string(bytes, from, cut);
        whole &&= cut === to;
      }
      if (count === 0) notes.noteEmpty(bytes, list.keyStart[row]!, list.keyEnd[row]!);
    } else {
      // Not an array of strings: its text as the only entry, and its kind among the types.
      scratch.clear();
      whole = writeText(scratch, notes, bytes, kind, start, end, column.max);
      this.#made.varint(1);
      this.#made.string(scratch.bytes, 0, scratch.length);
      notes.noteType("", bytes, list.keyStart[row]!, list.keyEnd[row]!, kind);
    }
    if (!whole) this.#noteCut(notes, bytes, list, row, column);
  }

  #noteCut(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, row: number, column: TypedColumn): void {
    if (column.judged === true) this.cut ??= column.attribute;
    const keyEnd = list.keyEnd[row]!;
    notes.noteCut("", bytes, list.keyStart[row]!, keyEnd, bytes, list.valueStart[row]!, list.valueEnd[row]!);
  }
}

function utf8(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("utf8");
}
