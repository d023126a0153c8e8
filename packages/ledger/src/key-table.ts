import { ENTRIES, At, COUNTS, layout, WORDS } from "./window-memory.ts";

/** Slots above which the index does not grow step by step. */
const LAST_GROWTH = 2 ** 19;

/**
 * The keys of a window: entries stand in a ring in the order of insertion; an open-addressing index of ring slots finds
 * them. 25 to 33 bytes a key, in memory that all threads of the process share and that the system gives only where
 * something is written. Whoever calls holds the window's lock.
 */
export class KeyTable {
  readonly #words: Int32Array;
  readonly #maxKeys: number;
  /** Entries ever added, entries held. */
  readonly #counts: Float64Array;
  /** Ring: key low, key high, content low, content high. */
  readonly #entries: Uint32Array;
  readonly #writers: Uint8Array;
  /** Ring slot + 1, or 0; of it the first `mask + 1` are in use. */
  readonly #index: Uint32Array;
  #mask = 0;
  #warm = new Uint32Array(1024);

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, COUNTS / 4);
    this.#maxKeys = this.#words[At.maxKeys]!;
    this.#counts = new Float64Array(memory, COUNTS, 2);
    const { writers, index, end } = layout(this.#maxKeys);
    this.#entries = new Uint32Array(memory, ENTRIES, this.#maxKeys * WORDS);
    this.#writers = new Uint8Array(memory, writers, this.#maxKeys);
    this.#index = new Uint32Array(memory, index, (end - index) / 4);
  }

  /** Entries ever added: the insertion number of the next one. */
  get inserted(): number {
    return this.#counts[0]!;
  }

  get size(): number {
    return this.#counts[1]!;
  }

  /** Another thread may have grown it since this one last held the lock. */
  refresh(): void {
    this.#mask = this.#words[At.mask]!;
  }

  /** The ring slot of a key, or -1. */
  find(low: number, high: number): number {
    for (let i = low & this.#mask; ; i = (i + 1) & this.#mask) {
      const slot = this.#index[i]! - 1;
      if (slot < 0) return -1;
      if (this.#entries[slot * WORDS] === low && this.#entries[slot * WORDS + 1] === high) return slot;
    }
  }

  insertionOf(slot: number): number {
    const last = this.#counts[0]! - 1;
    return last - ((last - slot) % this.#maxKeys);
  }

  writerOf(slot: number): number {
    return this.#writers[slot]!;
  }

  hasContent(slot: number, low: number, high: number): boolean {
    return this.#entries[slot * WORDS + 2] === low && this.#entries[slot * WORDS + 3] === high;
  }

  /** Adds the entry at `at` of `entries`, in place of the oldest when it is full; returns its insertion number. */
  insert(entries: Uint32Array, at: number, writer: number): number {
    const insertion = this.#counts[0]!;
    const slot = insertion % this.#maxKeys;
    if (insertion >= this.#maxKeys) this.#remove(slot);
    if (this.#counts[1]! * 2 > this.#mask) this.#grow();
    for (let i = 0; i < WORDS; i++) this.#entries[slot * WORDS + i] = entries[at + i]!;
    this.#writers[slot] = writer;
    this.#place(slot);
    this.#counts[0] = insertion + 1;
    this.#counts[1]!++;
    return insertion;
  }

  /** Takes back insertions `from` to `to` (exclusive), as far as they are still there. */
  forget(from: number, to: number): void {
    for (let n = Math.max(from, 0, this.#counts[0]! - this.#maxKeys); n < to; n++) this.#remove(n % this.#maxKeys);
  }

  /** Gives insertions `from` to `to` (exclusive) to another writer, as far as they are still there. */
  give(from: number, to: number, writer: number): void {
    for (let n = Math.max(from, this.#counts[0]! - this.#maxKeys); n < to; n++)
      this.#writers[n % this.#maxKeys] = writer;
  }

  /** Takes back those of insertions `from` to `to` (exclusive) that are the writer's; returns the first other one, or `to`. */
  forgetOf(writer: number, from: number, to: number): number {
    let other = to;
    for (let n = Math.max(from, this.#counts[0]! - this.#maxKeys); n < to; n++) {
      const slot = n % this.#maxKeys;
      if (this.#writers[slot] === writer) this.#remove(slot);
      else other = Math.min(other, n);
    }
    return other;
  }

  /** Copies insertions `from` to `to` (exclusive), as far as they are still there. */
  copy(from: number, to: number): Uint32Array<ArrayBuffer> {
    const first = Math.max(from, this.#counts[0]! - this.#maxKeys);
    const copied = new Uint32Array(Math.max(0, to - first) * WORDS);
    for (let n = first, at = 0; n < to; n++, at += WORDS) {
      const slot = (n % this.#maxKeys) * WORDS;
      for (let i = 0; i < WORDS; i++) copied[at + i] = this.#entries[slot + i]!;
    }
    return copied;
  }

  /**
   * Reads the place of each key in an index far larger than any cache: the processor fetches many at once, where
   * look-ups that insert would fetch one after the other. What was read is kept, or the compiler would not read it.
   */
  warmUp(entries: Uint32Array, count: number): void {
    if (this.#warm.length < count) this.#warm = new Uint32Array(entries.length / WORDS);
    for (let i = 0; i < count; i++) this.#warm[i] = this.#index[entries[i * WORDS]! & this.#mask]!;
  }

  #place(slot: number): void {
    let i = this.#entries[slot * WORDS]! & this.#mask;
    while (this.#index[i] !== 0) i = (i + 1) & this.#mask;
    this.#index[i] = slot + 1;
  }

  /** Removes a ring slot from the index; nothing happens when it is not there any more. */
  #remove(slot: number): void {
    let hole = this.#entries[slot * WORDS]! & this.#mask;
    while (this.#index[hole] !== slot + 1) {
      if (this.#index[hole] === 0) return;
      hole = (hole + 1) & this.#mask;
    }
    this.#counts[1]!--;
    // Shift back what probing would no longer reach across the hole.
    for (let i = (hole + 1) & this.#mask; this.#index[i] !== 0; i = (i + 1) & this.#mask) {
      const home = this.#entries[(this.#index[i]! - 1) * WORDS]! & this.#mask;
      if (((i - home) & this.#mask) < ((i - hole) & this.#mask)) continue;
      this.#index[hole] = this.#index[i]!;
      hole = i;
    }
    this.#index[hole] = 0;
  }

  /**
   * The index takes more of the memory that is there for it, so that it is at most half full. All threads wait meanwhile: a
   * large one takes all of it at once, and this does not come again.
   */
  #grow(): void {
    const old = this.#index.slice(0, this.#mask + 1);
    this.#mask = this.#mask < LAST_GROWTH ? this.#mask * 2 + 1 : this.#index.length - 1;
    this.#words[At.mask] = this.#mask;
    this.#index.fill(0, 0, old.length);
    for (const slot of old) if (slot !== 0) this.#place(slot - 1);
  }
}
