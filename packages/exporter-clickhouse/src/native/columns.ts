import { ClickHouseError } from "../errors.ts";
import { ByteSink, uint64, uint64s } from "./byte-sink.ts";
import { Dictionary } from "./dictionary.ts";

/**
 * One column of a Native block under construction, fed with RowBinary values.
 *
 * Rows are fed in tiles of a few dozen: for each column a tight loop over the tile's rows, so that neither a call per
 * value nor a second trip to memory is paid. That is why the loop stands in every class: shared, it would be slow.
 */
export interface Column {
  /** Takes one value at each of the first `count` cursors and moves the cursors behind them. */
  appendTile(source: Uint8Array, cursors: Uint32Array, count: number): void;
  /** Takes `n` values that follow one another from `at`; returns the position behind them. */
  appendRun(source: Uint8Array, at: number, n: number): number;
  /** What Native writes once before the data of a whole column (the versions of dictionaries). */
  prefix(parts: Uint8Array[]): void;
  data(parts: Uint8Array[]): void;
}

export function truncated(at: number): ClickHouseError {
  return new ClickHouseError("BAD_ROWS", `RowBinary: a value at byte ${at} runs over the end`);
}

/** Position behind the varint at `at`; its value is in `varintValue`. */
let varintValue = 0;
export function readVarint(source: Uint8Array, at: number): number {
  let position = at;
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = source[position++];
    // Five bytes are 34 bits: more than any segment can hold.
    if (byte === undefined || scale > 0x1000_0000) throw truncated(at);
    value += (byte & 127) * scale;
    if (byte < 128) break;
    scale *= 128;
  }
  varintValue = value;
  return position;
}

/** Position behind the string at `at`, its length prefix included. */
function skipString(source: Uint8Array, at: number): number {
  const first = source[at]!;
  let end: number;
  if (first < 128) {
    end = at + 1 + first;
  } else {
    const body = readVarint(source, at);
    end = body + varintValue;
  }
  // Written so that `at` behind the end (first is undefined, end NaN) fails as well.
  if (!(end <= source.length)) throw truncated(at);
  return end;
}

/** Numbers, dates, UUID, FixedString: the same bytes in both formats. */
export class FixedColumn implements Column {
  readonly #width: number;
  readonly #sink: ByteSink;

  constructor(width: number, rows: number) {
    this.#width = width;
    this.#sink = new ByteSink(width * rows);
  }

  appendTile(source: Uint8Array, cursors: Uint32Array, count: number): void {
    const width = this.#width;
    const target = this.#sink.reserve(width * count);
    let to = this.#sink.length;
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const end = at + width;
      if (end > source.length) throw truncated(at);
      for (let i = at; i < end; i++) target[to++] = source[i]!;
      cursors[row] = end;
    }
    this.#sink.length = to;
  }

  appendRun(source: Uint8Array, at: number, n: number): number {
    const end = at + n * this.#width;
    if (end > source.length) throw truncated(at);
    this.#sink.copy(source, at, end);
    return end;
  }

  prefix(): void {}

  data(parts: Uint8Array[]): void {
    parts.push(this.#sink.written());
  }
}

/** String: the same bytes in both formats, length prefix included. */
export class StringColumn implements Column {
  readonly #sink: ByteSink;

  constructor(rows: number) {
    this.#sink = new ByteSink(rows * 16);
  }

  appendTile(source: Uint8Array, cursors: Uint32Array, count: number): void {
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const end = skipString(source, at);
      this.#sink.copy(source, at, end);
      cursors[row] = end;
    }
  }

  appendRun(source: Uint8Array, at: number, n: number): number {
    let end = at;
    for (let i = 0; i < n; i++) end = skipString(source, end);
    this.#sink.copy(source, at, end);
    return end;
  }

  prefix(): void {}

  data(parts: Uint8Array[]): void {
    parts.push(this.#sink.written());
  }
}

/** LowCardinality(String): a dictionary of the block's distinct values and an index for each row. */
export class LowCardinalityColumn implements Column {
  readonly #dictionary = new Dictionary();
  #indexes: Uint32Array;
  #count = 0;

  constructor(rows: number) {
    this.#indexes = new Uint32Array(Math.max(rows, 16));
  }

  appendTile(source: Uint8Array, cursors: Uint32Array, count: number): void {
    this.#reserve(count);
    const dictionary = this.#dictionary;
    const indexes = this.#indexes;
    let to = this.#count;
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const end = skipString(source, at);
      indexes[to++] = dictionary.index(source, at, end);
      cursors[row] = end;
    }
    this.#count = to;
  }

  appendRun(source: Uint8Array, at: number, n: number): number {
    // Every value takes a byte at least: bounds the room that a hostile count can ask for.
    if (at + n > source.length) throw truncated(at);
    this.#reserve(n);
    let position = at;
    for (let i = 0; i < n; i++) {
      const end = skipString(source, position);
      this.#indexes[this.#count++] = this.#dictionary.index(source, position, end);
      position = end;
    }
    return position;
  }

  #reserve(n: number): void {
    if (this.#count + n <= this.#indexes.length) return;
    const grown = new Uint32Array(Math.max(this.#count + n, this.#indexes.length * 2));
    grown.set(this.#indexes.subarray(0, this.#count));
    this.#indexes = grown;
  }

  prefix(parts: Uint8Array[]): void {
    parts.push(uint64(1)); // SharedDictionariesWithAdditionalKeys, the only version
  }

  data(parts: Uint8Array[]): void {
    // The engine reads nothing at all for an empty column, as inside arrays that are all empty.
    if (this.#count === 0) return;
    const keys = this.#dictionary.size;
    const indexes = this.#indexes.subarray(0, this.#count);
    const width = keys <= 0x100 ? 0 : keys <= 0x1_0000 ? 1 : 2;
    const narrow = width === 0 ? Uint8Array.from(indexes) : width === 1 ? Uint16Array.from(indexes) : indexes;
    const hasAdditionalKeys = 1 << 9;
    const needUpdateDictionary = 1 << 10;
    parts.push(uint64(width | hasAdditionalKeys | needUpdateDictionary));
    parts.push(uint64(keys), this.#dictionary.encoded());
    parts.push(uint64(this.#count), new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength));
  }
}

/** Array(T), and with two inner columns Map(K, V): running totals, then all elements as one column (or two). */
export class ArrayColumn implements Column {
  readonly #inner: Column;
  readonly #value: Column | undefined;
  #offsets: Uint32Array;
  #count = 0;
  #total = 0;

  /** @param value the values of a map, whose keys are `inner`. */
  constructor(inner: Column, value: Column | undefined, rows: number) {
    this.#inner = inner;
    this.#value = value;
    this.#offsets = new Uint32Array(Math.max(rows, 16));
  }

  appendTile(source: Uint8Array, cursors: Uint32Array, count: number): void {
    this.#reserve(count);
    for (let row = 0; row < count; row++) cursors[row] = this.#appendOne(source, cursors[row]!);
  }

  appendRun(source: Uint8Array, at: number, n: number): number {
    if (at + n > source.length) throw truncated(at);
    this.#reserve(n);
    let position = at;
    for (let i = 0; i < n; i++) position = this.#appendOne(source, position);
    return position;
  }

  #appendOne(source: Uint8Array, at: number): number {
    let position = readVarint(source, at);
    const n = varintValue;
    if (n > 0) {
      const value = this.#value;
      if (value === undefined) {
        position = this.#inner.appendRun(source, position, n);
      } else {
        for (let i = 0; i < n; i++) {
          position = value.appendRun(source, this.#inner.appendRun(source, position, 1), 1);
        }
      }
      this.#total += n;
    }
    this.#offsets[this.#count++] = this.#total;
    return position;
  }

  #reserve(n: number): void {
    if (this.#count + n <= this.#offsets.length) return;
    const grown = new Uint32Array(Math.max(this.#count + n, this.#offsets.length * 2));
    grown.set(this.#offsets.subarray(0, this.#count));
    this.#offsets = grown;
  }

  prefix(parts: Uint8Array[]): void {
    this.#inner.prefix(parts);
    this.#value?.prefix(parts);
  }

  data(parts: Uint8Array[]): void {
    parts.push(uint64s(this.#offsets, this.#count));
    this.#inner.data(parts);
    this.#value?.data(parts);
  }
}
