import { ByteSink } from "./byte-sink.ts";
import { type Source, areEqual } from "./source.ts";

const INITIAL_SLOTS = 64;

/**
 * The distinct strings of a column, numbered in order of appearance. Strings stay bytes, with their length prefix, which is
 * how both formats write them.
 *
 * Rows of one workload repeat themselves: what followed a value last time is tried first, before hashing. For a constant
 * column that is the value itself, for the sorted keys of a map it is the next key.
 */
export class Dictionary {
  readonly #sink = new ByteSink(1024);
  #size = 0;
  /** Start of key i in the sink; one more entry holds the end. */
  #starts = new Uint32Array(INITIAL_SLOTS + 1);
  #hashes = new Int32Array(INITIAL_SLOTS);
  /** Key that followed key i last time. */
  #successors = new Uint32Array(INITIAL_SLOTS);
  /** Open addressing: key number + 1, 0 for a free slot. Twice as many slots as keys, a power of two. */
  #slots = new Uint32Array(INITIAL_SLOTS * 2);
  #previous = 0;

  get size(): number {
    return this.#size;
  }

  clear(): void {
    this.#sink.length = 0;
    this.#size = 0;
    this.#previous = 0;
    this.#slots.fill(0);
  }

  /** All keys, one behind the other. */
  encoded(): Uint8Array {
    return this.#sink.written();
  }

  /** Number of the string in `source[start, end)`, length prefix included. */
  index(source: Source, start: number, end: number): number {
    const guess = this.#successors[this.#previous]!;
    let index = guess;
    if (guess >= this.#size || !this.#equals(guess, source, start, end)) {
      index = this.#lookUp(source, start, end);
      this.#successors[this.#previous] = index;
    }
    this.#previous = index;
    return index;
  }

  #lookUp(source: Source, start: number, end: number): number {
    const hash = hashBytes(source, start, end);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0) break;
      if (this.#hashes[entry - 1] === hash && this.#equals(entry - 1, source, start, end)) return entry - 1;
      slot = (slot + 1) & mask;
    }
    return this.#add(slot, hash, source, start, end);
  }

  #add(slot: number, hash: number, source: Source, start: number, end: number): number {
    const index = this.#size++;
    this.#sink.copy(source, start, end);
    this.#starts[index + 1] = this.#sink.length;
    this.#hashes[index] = hash;
    this.#slots[slot] = index + 1;
    if (this.#size === this.#hashes.length) this.#grow();
    return index;
  }

  #equals(index: number, source: Source, start: number, end: number): boolean {
    const at = this.#starts[index]!;
    const length = end - start;
    if (this.#starts[index + 1]! - at !== length) return false;
    return areEqual(this.#sink.view, at, source.view, start, length);
  }

  #grow(): void {
    const capacity = this.#hashes.length * 2;
    const starts = new Uint32Array(capacity + 1);
    starts.set(this.#starts);
    this.#starts = starts;
    const successors = new Uint32Array(capacity);
    successors.set(this.#successors);
    this.#successors = successors;
    const hashes = new Int32Array(capacity);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    const slots = new Uint32Array(capacity * 2);
    const mask = slots.length - 1;
    for (let index = 0; index < this.#size; index++) {
      let slot = hashes[index]! & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = index + 1;
    }
    this.#slots = slots;
  }
}

/** Four bytes a step; the final mix spreads high bits into the low ones that pick the slot. */
function hashBytes({ view }: Source, start: number, end: number): number {
  let hash = end - start;
  let i = start;
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(i), 0x9e37_79b1);
    hash ^= hash >>> 15;
  }
  for (; i < end; i++) hash = Math.imul(hash ^ view.getUint8(i), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d);
  return hash ^ (hash >>> 15);
}
