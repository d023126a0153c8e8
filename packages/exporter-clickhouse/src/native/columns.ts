import { ByteSink } from "./byte-sink.ts";
import { Dictionary } from "./dictionary.ts";
import type { Source } from "./source.ts";
import { skipString, truncated, varintEnd, varintValue } from "./values.ts";

/**
 * One column of a Native block under construction, fed with RowBinary values.
 *
 * Rows are fed in tiles of a few dozen: for each column a tight loop over the tile's rows, so that neither a call per
 * value nor a second trip to memory is paid. That is why the loop stands in every class: shared, it would be slow.
 */
export interface Column {
  /** Takes one value at each of the first `count` cursors and moves the cursors behind them. */
  appendTile(source: Source, cursors: Uint32Array, count: number): void;
  /** Takes `n` values that follow one another from `at`; returns the position behind them. */
  appendRun(source: Source, at: number, n: number): number;
  /** From here on `repeatMarked` repeats. */
  mark(): void;
  /** Takes all values since `mark` so many times more. */
  repeatMarked(times: number): void;
  /** Writes what Native has once before the data of a whole column (the versions of dictionaries). */
  writePrefix(out: ByteSink): void;
  writeData(out: ByteSink): void;
  /** Forgets its values. The memory stays, for the next block. */
  clear(): void;
}

const INITIAL_ROWS = 1024;

/** Numbers, dates, UUID, FixedString: the same bytes in both formats. */
export class FixedColumn implements Column {
  readonly #width: number;
  readonly #sink = new ByteSink(1024);
  #mark = 0;

  constructor(width: number) {
    this.#width = width;
  }

  appendTile(source: Source, cursors: Uint32Array, count: number): void {
    const width = this.#width;
    this.#sink.reserve(width * count);
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const end = at + width;
      if (end > source.bytes.length) throw truncated(at);
      this.#sink.copy(source, at, end);
      cursors[row] = end;
    }
  }

  appendRun(source: Source, at: number, n: number): number {
    const end = at + n * this.#width;
    if (end > source.bytes.length) throw truncated(at);
    this.#sink.copy(source, at, end);
    return end;
  }

  mark(): void {
    this.#mark = this.#sink.length;
  }

  repeatMarked(times: number): void {
    this.#sink.repeat(this.#mark, times);
  }

  writePrefix(): void {}

  writeData(out: ByteSink): void {
    out.append(this.#sink.written());
  }

  clear(): void {
    this.#sink.length = 0;
  }
}

/** String: the same bytes in both formats, length prefix included. */
export class StringColumn implements Column {
  readonly #sink = new ByteSink(1024);
  #mark = 0;

  appendTile(source: Source, cursors: Uint32Array, count: number): void {
    for (let row = 0; row < count; row++) {
      const at = cursors[row]!;
      const end = skipString(source, at);
      this.#sink.copy(source, at, end);
      cursors[row] = end;
    }
  }

  appendRun(source: Source, at: number, n: number): number {
    let end = at;
    for (let i = 0; i < n; i++) end = skipString(source, end);
    this.#sink.copy(source, at, end);
    return end;
  }

  mark(): void {
    this.#mark = this.#sink.length;
  }

  repeatMarked(times: number): void {
    this.#sink.repeat(this.#mark, times);
  }

  writePrefix(): void {}

  writeData(out: ByteSink): void {
    out.append(this.#sink.written());
  }

  clear(): void {
    this.#sink.length = 0;
  }
}

/** Flags of a column's only dictionary in a block. */
const HAS_ADDITIONAL_KEYS = 1 << 9;
const NEED_UPDATE_DICTIONARY = 1 << 10;

/** LowCardinality(String): a dictionary of the block's distinct values and an index for each row. */
export class LowCardinalityColumn implements Column {
  readonly #dictionary = new Dictionary();
  #indexes = new Uint32Array(INITIAL_ROWS);
  #count = 0;
  #mark = 0;

  appendTile(source: Source, cursors: Uint32Array, count: number): void {
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

  appendRun(source: Source, at: number, n: number): number {
    // Every value takes a byte at least: bounds the room that a hostile count can ask for.
    if (at + n > source.bytes.length) throw truncated(at);
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

  mark(): void {
    this.#mark = this.#count;
  }

  repeatMarked(times: number): void {
    const from = this.#mark;
    const run = this.#count - from;
    this.#reserve(run * times);
    const indexes = this.#indexes;
    if (run === 1) indexes.fill(indexes[from]!, this.#count, this.#count + times);
    else for (let to = this.#count; to < this.#count + run * times; to++) indexes[to] = indexes[to - run]!;
    this.#count += run * times;
  }

  writePrefix(out: ByteSink): void {
    out.uint64(1); // SharedDictionariesWithAdditionalKeys, the only version
  }

  writeData(out: ByteSink): void {
    // The engine reads nothing at all for an empty column, as inside arrays that are all empty.
    if (this.#count === 0) return;
    const keys = this.#dictionary.size;
    const width = keys <= 0x100 ? 0 : keys <= 0x1_0000 ? 1 : 2;
    out.uint64(width | HAS_ADDITIONAL_KEYS | NEED_UPDATE_DICTIONARY);
    out.uint64(keys);
    out.append(this.#dictionary.encoded());
    out.uint64(this.#count);
    this.#writeIndexes(out, 1 << width);
  }

  #writeIndexes(out: ByteSink, width: number): void {
    const count = this.#count;
    const indexes = this.#indexes;
    out.reserve(count * width);
    const { bytes, view, length } = out;
    out.length = length + count * width;
    if (this.#dictionary.size === 1) bytes.fill(0, length, out.length);
    else if (width === 1) for (let i = 0; i < count; i++) bytes[length + i] = indexes[i]!;
    else if (width === 2) for (let i = 0; i < count; i++) view.setUint16(length + 2 * i, indexes[i]!, true);
    else for (let i = 0; i < count; i++) view.setUint32(length + 4 * i, indexes[i]!, true);
  }

  clear(): void {
    this.#count = 0;
    this.#dictionary.clear();
  }
}

/** Array(T), and with two inner columns Map(K, V): running totals, then all elements as one column (or two). */
export class ArrayColumn implements Column {
  readonly #inner: Column;
  readonly #value: Column | undefined;
  #offsets = new Uint32Array(INITIAL_ROWS);
  #count = 0;
  #total = 0;
  #mark = 0;
  #markedTotal = 0;

  /** @param value the values of a map, whose keys are `inner`. */
  constructor(inner: Column, value?: Column) {
    this.#inner = inner;
    this.#value = value;
  }

  appendTile(source: Source, cursors: Uint32Array, count: number): void {
    this.#reserve(count);
    for (let row = 0; row < count; row++) cursors[row] = this.#appendOne(source, cursors[row]!);
  }

  appendRun(source: Source, at: number, n: number): number {
    if (at + n > source.bytes.length) throw truncated(at);
    this.#reserve(n);
    let position = at;
    for (let i = 0; i < n; i++) position = this.#appendOne(source, position);
    return position;
  }

  #appendOne(source: Source, at: number): number {
    let position = varintEnd(source, at);
    const n = varintValue(source, at, position);
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

  mark(): void {
    this.#mark = this.#count;
    this.#markedTotal = this.#total;
    this.#inner.mark();
    this.#value?.mark();
  }

  repeatMarked(times: number): void {
    const run = this.#count - this.#mark;
    const elements = this.#total - this.#markedTotal;
    this.#reserve(run * times);
    for (let i = 0; i < run * times; i++) {
      this.#offsets[this.#count] = this.#offsets[this.#count - run]! + elements;
      this.#count++;
    }
    this.#total += elements * times;
    if (elements === 0) return;
    this.#inner.repeatMarked(times);
    this.#value?.repeatMarked(times);
  }

  writePrefix(out: ByteSink): void {
    this.#inner.writePrefix(out);
    this.#value?.writePrefix(out);
  }

  writeData(out: ByteSink): void {
    const count = this.#count;
    out.reserve(8 * count);
    const { bytes, view, length } = out;
    out.length = length + 8 * count;
    bytes.fill(0, length, out.length);
    if (this.#total > 0) for (let i = 0; i < count; i++) view.setUint32(length + 8 * i, this.#offsets[i]!, true);
    this.#inner.writeData(out);
    this.#value?.writeData(out);
  }

  clear(): void {
    this.#count = 0;
    this.#total = 0;
    this.#inner.clear();
    this.#value?.clear();
  }
}
