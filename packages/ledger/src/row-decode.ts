import { createHash } from "node:crypto";
import { LedgerError } from "./errors.ts";
import { COLUMNS, ROW_FORMAT, ROW_OFFSET } from "./row-format.ts";

type Shape =
  | { readonly kind: "fixed"; readonly type: string; readonly size: number }
  | { readonly kind: "string" }
  | { readonly kind: "map" }
  | { readonly kind: "array"; readonly of: Shape };

const FIXED: Readonly<Record<string, number>> = {
  UInt16: 2,
  UInt32: 4,
  UInt64: 8,
  UUID: 16,
  "DateTime64(9)": 8,
  "FixedString(16)": 16,
};

const SHAPES: readonly Shape[] = COLUMNS.map(({ type }) => shapeOf(type));
const RECORD_ID = COLUMNS.findIndex(({ name }) => name === "RecordId");
const PRINCIPAL = COLUMNS.findIndex(({ name }) => name === "Principal");
const LEAF_PREFIX = Uint8Array.of(0);
// Strings of a row may be any bytes; the decoder replaces what is not UTF-8 and keeps a byte order mark.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The leaf of a row (rule E2): SHA-256(0x00 ‖ RowBinary), lower hex. */
export function rowHash(row: Uint8Array): string {
  return createHash("sha256").update(LEAF_PREFIX).update(row).digest("hex");
}

/**
 * Reads one row of format 1 at `offset`. Strings become JS strings (invalid UTF-8 as U+FFFD), times and UInt64 bigints,
 * StreamId UUID text, ContentHash hex, maps objects without prototype, nested columns arrays under their dotted names.
 * Throws LedgerError CORRUPT when the bytes are not a row.
 */
export function decodeRow(bytes: Uint8Array, offset: number): { row: Record<string, unknown>; end: number } {
  const reader = new RowReader(bytes, offset);
  const row: Record<string, unknown> = {};
  for (const [i, column] of COLUMNS.entries()) row[column.name] = reader.value(SHAPES[i]!);
  if (row["RowFormat"] !== ROW_FORMAT) {
    throw new LedgerError("CORRUPT", `row format ${String(row["RowFormat"])} is not known, expected ${ROW_FORMAT}`);
  }
  return { row, end: reader.at };
}

/** Where the key of a row stands (rule O3), and the row's end. */
export interface RowKey {
  recordIdStart: number;
  recordIdEnd: number;
  principalStart: number;
  principalEnd: number;
  end: number;
}

/** Finds a row's key without decoding it. Throws LedgerError CORRUPT when the bytes are not a row. */
export function readRowKey(bytes: Uint8Array, offset: number, into: RowKey): void {
  const reader = new RowReader(bytes, offset);
  for (let i = 0; i < SHAPES.length; i++) {
    reader.skip(SHAPES[i]!);
    if (i === RECORD_ID) {
      into.recordIdStart = reader.lastStart;
      into.recordIdEnd = reader.at;
    } else if (i === PRINCIPAL) {
      into.principalStart = reader.lastStart;
      into.principalEnd = reader.at;
    }
  }
  into.end = reader.at;
}

/** The fixed fields at the start of a row. */
export function readRowPlace(
  bytes: Uint8Array,
  offset: number,
): { format: number; stream: Uint8Array; sequence: bigint; receivedAt: bigint } {
  if (bytes.length - offset < ROW_OFFSET.end) throw corrupt(offset);
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  return {
    format: view.getUint16(ROW_OFFSET.format, true),
    stream: bytes.subarray(offset + ROW_OFFSET.streamId, offset + ROW_OFFSET.sequence),
    sequence: view.getBigUint64(ROW_OFFSET.sequence, true),
    receivedAt: view.getBigInt64(ROW_OFFSET.receivedAt, true),
  };
}

/** The 16 bytes of a UUID column to text: two 64-bit halves, each little-endian. */
export function uuidText(bytes: Uint8Array): string {
  const hex =
    Buffer.from(bytes.subarray(0, 8).toReversed()).toString("hex") +
    Buffer.from(bytes.subarray(8, 16).toReversed()).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** UUID text to the 16 bytes of a UUID column. */
export function uuidBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text.replaceAll("-", ""), "hex");
  if (bytes.length !== 16) throw new LedgerError("INVALID_ARGUMENT", `"${text}" is not a UUID`);
  bytes.subarray(0, 8).reverse();
  bytes.subarray(8, 16).reverse();
  return bytes;
}

class RowReader {
  at: number;
  /** First byte of the string that was skipped last. */
  lastStart = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = offset;
  }

  skip(shape: Shape): void {
    if (shape.kind === "fixed") this.#take(shape.size);
    else if (shape.kind === "string") {
      const length = this.#varint();
      this.lastStart = this.#take(length);
    } else {
      const count = this.#varint();
      for (let i = 0; i < count; i++) {
        if (shape.kind === "array") this.skip(shape.of);
        else {
          this.#take(this.#varint());
          this.#take(this.#varint());
        }
      }
    }
  }

  value(shape: Shape): unknown {
    if (shape.kind === "fixed") return this.#fixed(shape);
    if (shape.kind === "string") return this.#string();
    const count = this.#varint();
    if (shape.kind === "array") {
      const list: unknown[] = [];
      for (let i = 0; i < count; i++) list.push(this.value(shape.of));
      return list;
    }
    const map: Record<string, string> = Object.create(null);
    for (let i = 0; i < count; i++) {
      const key = this.#string();
      map[key] = this.#string();
    }
    return map;
  }

  #fixed(shape: { type: string; size: number }): unknown {
    const at = this.#take(shape.size);
    switch (shape.type) {
      case "UInt16":
        return this.#view.getUint16(at, true);
      case "UInt32":
        return this.#view.getUint32(at, true);
      case "UInt64":
        return this.#view.getBigUint64(at, true);
      case "DateTime64(9)":
        return this.#view.getBigInt64(at, true);
      case "UUID":
        return uuidText(this.#bytes.subarray(at, at + 16));
      default:
        return Buffer.from(this.#bytes.subarray(at, at + shape.size)).toString("hex");
    }
  }

  #string(): string {
    const length = this.#varint();
    const at = this.#take(length);
    return utf8.decode(this.#bytes.subarray(at, at + length));
  }

  #varint(): number {
    let value = 0;
    for (let shift = 1; shift <= 0x1000_0000; shift *= 128) {
      const byte = this.#bytes[this.#take(1)]!;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
    throw corrupt(this.at);
  }

  #take(size: number): number {
    const at = this.at;
    if (size > this.#bytes.length - at) throw corrupt(at);
    this.at = at + size;
    return at;
  }
}

function corrupt(at: number): LedgerError {
  return new LedgerError("CORRUPT", `no row of format ${ROW_FORMAT}: it breaks off at byte ${at}`);
}

function shapeOf(type: string): Shape {
  const size = FIXED[type];
  if (size !== undefined) return { kind: "fixed", type, size };
  const inner = /^Array\((.*)\)$/.exec(type)?.[1];
  if (inner !== undefined) return { kind: "array", of: shapeOf(inner) };
  return { kind: type.startsWith("Map(") ? "map" : "string" };
}
