import { type AttributeList, ValueKind } from "@otel-audit/otlp";
import type { TypedIndex } from "./attribute-map.ts";
import { writeText } from "./attribute-map.ts";
import { ByteBuffer, cutAt } from "./byte-buffer.ts";
import type { RecordNotes } from "./record-notes.ts";
import { LIMITS, TYPED_COLUMNS, type TypedColumn } from "./row-format.ts";
import { stringElements } from "./value-text.ts";

const COUNT = TYPED_COLUMNS.length;
const scratch = new ByteBuffer(LIMITS.column);

/**
 * The typed columns of one record as they will be stored: text for a string column, RowBinary for an array column. They
 * are made before anything else, because the collector judges exactly what it stores.
 */
export class TypedColumns {
  readonly buffer = new ByteBuffer(4096);
  readonly start = new Uint32Array(COUNT);
  readonly end = new Uint32Array(COUNT);
  /** Name of an attribute that a policy looks at and that was cut, or undefined. */
  cut: string | undefined;
  readonly #elements: number[] = [];

  /** Column number by its name. */
  static find(column: string): number {
    return TYPED_COLUMNS.findIndex((typed) => typed.column === column);
  }

  fill(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, typed: TypedIndex): void {
    this.buffer.clear();
    this.cut = undefined;
    const { buffer, start, end } = this;
    for (let i = 0; i < COUNT; i++) {
      const row = typed.row[i]!;
      start[i] = buffer.length;
      if (row >= 0) {
        const column = TYPED_COLUMNS[i]!;
        if (column.entries === undefined) this.#fillString(notes, bytes, list, row, column);
        else this.#fillArray(notes, bytes, list, row, column);
      }
      end[i] = buffer.length;
    }
  }

  isEmpty(i: number): boolean {
    return this.start[i] === this.end[i];
  }

  /** Whether a string column is exactly this text. */
  is(i: number, text: Uint8Array): boolean {
    const start = this.start[i]!;
    if (this.end[i]! - start !== text.length) return false;
    for (let at = 0; at < text.length; at++) if (this.buffer.bytes[start + at] !== text[at]) return false;
    return true;
  }

  /** Replaces a column's text by our own words. The columns must stand in one piece, so it goes to the buffer's end. */
  replace(i: number, write: (buffer: ByteBuffer) => void): void {
    this.start[i] = this.buffer.length;
    write(this.buffer);
    this.end[i] = this.buffer.length;
  }

  /** The text of a string column; what is not UTF-8 as U+FFFD. */
  text(i: number): string {
    return this.buffer.bytes.toString("utf8", this.start[i], this.end[i]);
  }

  /** The entries of an array column. */
  texts(i: number): string[] {
    if (this.isEmpty(i)) return [];
    const bytes = this.buffer.bytes;
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
      texts.push(bytes.toString("utf8", at, at + length));
      at += length;
    }
    return texts;
  }

  /** Writes the RowBinary of columns `from` to `to`, both inclusive. */
  write(out: ByteBuffer, from: number, to: number): void {
    for (let i = from; i <= to; i++) {
      const start = this.start[i]!;
      const end = this.end[i]!;
      if (start === end) {
        // No text, and no array: both begin with how long they are.
        out.byte(0);
      } else {
        if (TYPED_COLUMNS[i]!.entries === undefined) out.varint(end - start);
        out.copyFrom(this.buffer, start, end);
      }
    }
  }

  #fillString(notes: RecordNotes, bytes: Uint8Array, list: AttributeList, row: number, column: TypedColumn): void {
    const kind = list.kind[row]!;
    const start = list.valueStart[row]!;
    const end = list.valueEnd[row]!;
    let whole: boolean;
    if (kind === ValueKind.String) {
      const cut = cutAt(bytes, start, end, column.max);
      this.buffer.copy(bytes, start, cut);
      whole = cut === end;
      if (start === end) notes.noteEmpty(bytes, list.keyStart[row]!, list.keyEnd[row]!);
    } else {
      whole = writeText(this.buffer, notes, bytes, kind, start, end, column.max);
      notes.noteType("", bytes, list.keyStart[row]!, list.keyEnd[row]!, kind);
    }
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
      this.buffer.varint(Math.min(count, max));
      for (let i = 0; i < this.#elements.length; i += 2) {
        const from = this.#elements[i]!;
        const to = this.#elements[i + 1]!;
        const cut = cutAt(bytes, from, to, column.max);
        this.buffer.string(bytes, from, cut);
        whole &&= cut === to;
      }
      if (count === 0) notes.noteEmpty(bytes, list.keyStart[row]!, list.keyEnd[row]!);
    } else {
      // Not an array of strings: its text as the only entry, and its kind among the types.
      scratch.clear();
      whole = writeText(scratch, notes, bytes, kind, start, end, column.max);
      this.buffer.varint(1);
      this.buffer.string(scratch.bytes, 0, scratch.length);
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
