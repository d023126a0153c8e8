import { type ByteBuffer, ByteBuffer as Bytes, compareBytes } from "./byte-buffer.ts";

const SHORT = 24;

/**
 * The entries of one map before they are sorted and written: offsets into the request for what stands there as it is
 * stored, into a buffer of its own for what was made. No object an entry; reusable.
 */
export class EntryTable {
  count = 0;
  /** Text that does not stand in the request. */
  readonly own: ByteBuffer = new Bytes(512);
  /** keyStart, keyEnd, valueStart, valueEnd, 1 when the key is in `own` | 2 when the value is. */
  #cells = new Uint32Array(32 * 5);
  #hashes = new Uint32Array(32);
  #order = new Uint32Array(32);
  #merge = new Uint32Array(32);

  clear(): void {
    this.count = 0;
    this.own.clear();
  }

  add(
    keyStart: number,
    keyEnd: number,
    keyOwn: boolean,
    valueStart: number,
    valueEnd: number,
    valueOwn: boolean,
  ): void {
    if (this.count === this.#order.length) this.#grow();
    const cell = this.count * 5;
    this.#cells[cell] = keyStart;
    this.#cells[cell + 1] = keyEnd;
    this.#cells[cell + 2] = valueStart;
    this.#cells[cell + 3] = valueEnd;
    this.#cells[cell + 4] = (keyOwn ? 1 : 0) | (valueOwn ? 2 : 0);
    this.count++;
  }

  /** Adds an entry whose key and value were just written to `own`: key from `keyStart`, value from `valueStart` to its end. */
  addOwn(keyStart: number, valueStart: number): void {
    this.add(keyStart, valueStart, true, valueStart, this.own.length, true);
  }

  /** Adds all entries of a table that has only entries of its own. */
  addAll(other: EntryTable): void {
    const shift = this.own.length;
    this.own.copyFrom(other.own);
    for (let i = 0; i < other.count; i++) {
      const cell = i * 5;
      const cells = other.#cells;
      this.add(
        cells[cell]! + shift,
        cells[cell + 1]! + shift,
        true,
        cells[cell + 2]! + shift,
        cells[cell + 3]! + shift,
        true,
      );
    }
  }

  /**
   * Adds the request's key [start, end) to those that `isRepeated` knows. Call before `add`.
   * @returns true when the table has it already; then nothing is to be added
   */
  isRepeated(request: Uint8Array, start: number, end: number): boolean {
    let hash = end - start;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ request[i]!, 0x01000193);
    hash >>>= 0;
    for (let i = 0; i < this.count; i++) {
      if (this.#hashes[i] !== hash) continue;
      const cell = i * 5;
      const own = (this.#cells[cell + 4]! & 1) === 1;
      if (!own && compareBytes(request, this.#cells[cell]!, this.#cells[cell + 1]!, request, start, end) === 0)
        return true;
    }
    if (this.count === this.#order.length) this.#grow();
    this.#hashes[this.count] = hash;
    return false;
  }

  /** Writes the entries as a RowBinary map, sorted by key. Keys are distinct already. */
  write(out: ByteBuffer, request: Uint8Array): void {
    const order = this.#sort(request);
    out.varint(this.count);
    for (let i = 0; i < this.count; i++) {
      const cell = order[i]! * 5;
      const cells = this.#cells;
      const from = cells[cell + 4]!;
      this.#writeText(out, request, (from & 1) === 1, cells[cell]!, cells[cell + 1]!);
      this.#writeText(out, request, (from & 2) === 2, cells[cell + 2]!, cells[cell + 3]!);
    }
  }

  #writeText(out: ByteBuffer, request: Uint8Array, isOwn: boolean, start: number, end: number): void {
    out.varint(end - start);
    if (isOwn) out.copyFrom(this.own, start, end);
    else out.copy(request, start, end);
  }

  #compare(request: Uint8Array, a: number, b: number): number {
    const cells = this.#cells;
    const bytesOfA = (cells[a * 5 + 4]! & 1) === 0 ? request : this.own.bytes;
    const bytesOfB = (cells[b * 5 + 4]! & 1) === 0 ? request : this.own.bytes;
    return compareBytes(bytesOfA, cells[a * 5]!, cells[a * 5 + 1]!, bytesOfB, cells[b * 5]!, cells[b * 5 + 1]!);
  }

  /** Insertion for runs of `SHORT`, then merging. A producer chooses the order, so the worst case must be cheap. */
  #sort(request: Uint8Array): Uint32Array {
    const { count } = this;
    let from = this.#order;
    for (let i = 0; i < count; i++) {
      let at = i;
      const first = i - (i % SHORT);
      for (; at > first && this.#compare(request, from[at - 1]!, i) > 0; at--) from[at] = from[at - 1]!;
      from[at] = i;
    }
    let to = this.#merge;
    for (let width = SHORT; width < count; width *= 2) {
      for (let start = 0; start < count; start += width * 2) {
        const middle = Math.min(start + width, count);
        const end = Math.min(start + width * 2, count);
        let left = start;
        let right = middle;
        for (let at = start; at < end; at++) {
          const takeLeft = left < middle && (right >= end || this.#compare(request, from[left]!, from[right]!) <= 0);
          to[at] = takeLeft ? from[left++]! : from[right++]!;
        }
      }
      [from, to] = [to, from];
    }
    this.#order = from;
    this.#merge = to;
    return from;
  }

  #grow(): void {
    const size = this.#order.length * 2;
    const cells = new Uint32Array(size * 5);
    cells.set(this.#cells);
    this.#cells = cells;
    const hashes = new Uint32Array(size);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    this.#order = new Uint32Array(size);
    this.#merge = new Uint32Array(size);
  }
}
