import { randomBytes } from "node:crypto";
import { LedgerError } from "./errors.ts";
import { Fingerprint, word } from "./fingerprint.ts";
import { Mutex } from "./mutex.ts";
import { At, COUNTS, createMemory, ENTRIES, FLOORS, GENERATIONS, layout, MAX_WRITERS, WORDS } from "./window-memory.ts";

/** What the window says about a record. */
export const Seen = { New: 0, Duplicate: 1, Conflict: 2 } as const;

/** Writer of an entry that is stored already. */
const NOBODY = 255;
/** Slots above which the table does not grow step by step. */
const LAST_GROWTH = 2 ** 19;
const encoder = new TextEncoder();

/** Of one key in memory, and in the key log. */
export const ENTRY_BYTES = WORDS * 4;

/** A record whose first copy another thread is writing to disk. */
export interface InFlight {
  readonly insertion: number;
  readonly writer: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The keys of the last records (rules O3 and O4): (principal, record id) to the content of the producer's span, by count
 * and not by time. A key is held as a 64-bit keyed fingerprint, the content as the first 64 bits of its SHA-256. A
 * duplicate needs both equal.
 *
 * Entries stand in a ring in the order of insertion; an open-addressing table of ring slots finds them. 25 to 33 bytes a
 * key, in memory that all threads of the process share and that the system gives only where something is written.
 *
 * Each thread that writes records is a writer. Its appends reach the disk in the order of their insertions, so one number
 * a writer (its floor) says which of its entries are not synced yet.
 */
export class RecordWindow {
  /** For other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #writer: number;
  readonly #maxKeys: number;
  readonly #words: Int32Array;
  readonly #lock: Mutex;
  readonly #fingerprint: Fingerprint;
  /** Entries ever added, entries held. */
  readonly #counts: Float64Array;
  /** The first insertion of each writer that is not synced; Infinity: all are. */
  readonly #floors: Float64Array;
  /** Ring: key low, key high, content low, content high. */
  readonly #entries: Uint32Array;
  readonly #writers: Uint8Array;
  /** Ring slot + 1, or 0; of it the first `mask + 1` are in use. */
  readonly #index: Uint32Array;
  #mask = 0;
  /** Keys of one append, as entries. */
  #staged = new Uint32Array(1024 * WORDS);
  #stagedCount = 0;
  #warm = new Uint32Array(1024);
  /** What `commit` found out, by the order of staging: a `Seen`, and for a duplicate its insertion and its writer. */
  seen = new Uint8Array(1024);
  hits = new Float64Array(1024);
  /** The writer that has not synced it yet, or -1. */
  waitsFor = new Int8Array(1024);
  /** How many it learned. */
  learned = 0;

  /**
   * @param of entries kept, 1 to 100,000,000; or the memory of a window that another thread has made
   * @param writer the number of this thread, 0 to 63
   * @param secret of the fingerprints, 8 bytes: that of an earlier window, whose entries are to be restored
   */
  constructor(of: number | SharedArrayBuffer, writer = 0, secret: Uint8Array = randomBytes(8)) {
    this.memory = typeof of === "number" ? createMemory(of, secret) : of;
    this.#words = new Int32Array(this.memory, 0, COUNTS / 4);
    this.#maxKeys = this.#words[At.maxKeys]!;
    this.#writer = writer;
    this.#lock = new Mutex(this.#words, At.lock);
    this.#fingerprint = new Fingerprint(this.#words[At.key0]!, this.#words[At.key1]!);
    this.#counts = new Float64Array(this.memory, COUNTS, 2);
    this.#floors = new Float64Array(this.memory, FLOORS, MAX_WRITERS);
    const { writers, index, end } = layout(this.#maxKeys);
    this.#entries = new Uint32Array(this.memory, ENTRIES, this.#maxKeys * WORDS);
    this.#writers = new Uint8Array(this.memory, writers, this.#maxKeys);
    this.#index = new Uint32Array(this.memory, index, (end - index) / 4);
  }

  /** Keys held. */
  get size(): number {
    return this.#lock.run(() => this.#counts[1]!);
  }

  /** Entries ever added: the insertion number of the next one. */
  get inserted(): number {
    return this.#lock.run(() => this.#counts[0]!);
  }

  /**
   * Learns a record that is stored already, as the table or a segment has it.
   * @param contentHash the ContentHash column; at least 8 bytes
   */
  remember(principal: string | Uint8Array, recordId: string | Uint8Array, contentHash: Uint8Array): void {
    if (contentHash.length < 8) {
      throw new LedgerError("INVALID_ARGUMENT", `a content hash has ${contentHash.length} bytes, needs at least 8`);
    }
    const id = typeof recordId === "string" ? encoder.encode(recordId) : recordId;
    this.unstage();
    this.stage(typeof principal === "string" ? encoder.encode(principal) : principal, id, 0, id.length, contentHash, 0);
    this.commit({ stored: true });
  }

  /** Of the fingerprints; another window can restore entries of this one only with it. */
  get secret(): Uint8Array {
    return Uint8Array.from(new Uint8Array(this.memory, At.key0 * 4, 8));
  }

  /** The entries of insertions `from` to `to` (exclusive), as far as they are still there. */
  entries(from: number, to: number): Uint8Array {
    return this.#lock.run(() => {
      const first = Math.max(from, this.#counts[0]! - this.#maxKeys);
      const bytes = new Uint32Array(Math.max(0, to - first) * WORDS);
      for (let n = first, at = 0; n < to; n++, at += WORDS) {
        const slot = (n % this.#maxKeys) * WORDS;
        for (let i = 0; i < WORDS; i++) bytes[at + i] = this.#entries[slot + i]!;
      }
      return new Uint8Array(bytes.buffer);
    });
  }

  /** Learns what `entries` gave, of a window with the same secret. */
  restore(entries: Uint8Array): void {
    this.unstage();
    for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
      if (this.#stagedCount === this.seen.length) this.#growStaged();
      const to = this.#stagedCount++ * WORDS;
      for (let i = 0; i < WORDS; i++) this.#staged[to + i] = word(entries, at + i * 4);
    }
    this.commit({ stored: true });
  }

  /** Adds a record to those that the next `commit` looks up. */
  stage(
    principal: Uint8Array,
    id: Uint8Array,
    idStart: number,
    idEnd: number,
    content: Uint8Array,
    contentStart: number,
  ): void {
    if (this.#stagedCount === this.seen.length) this.#growStaged();
    const key = this.#fingerprint;
    key.of(principal, id, idStart, idEnd);
    const at = this.#stagedCount++ * WORDS;
    this.#staged[at] = key.low;
    this.#staged[at + 1] = key.high;
    this.#staged[at + 2] = word(content, contentStart);
    this.#staged[at + 3] = word(content, contentStart + 4);
  }

  /** Forgets what was staged and not committed. */
  unstage(): void {
    this.#stagedCount = 0;
  }

  /**
   * Looks up everything staged and learns what is new or in conflict, in one step for all threads. The results stand in
   * `seen`, `hits` and `waitsFor`. When it throws, nothing was learned.
   * @param options.stored they are on disk already
   * @returns the insertion number of the first that it learned; the others follow it
   */
  commit(options: { stored?: true } = {}): number {
    const writer = options.stored ? NOBODY : this.#writer;
    return this.#lock.run(() => {
      this.#mask = this.#words[At.mask]!;
      const first = this.#counts[0]!;
      this.#warmUp();
      try {
        for (let i = 0; i < this.#stagedCount; i++) this.seen[i] = this.#observe(i, writer);
      } catch (error) {
        for (let n = first; n < this.#counts[0]!; n++) this.#remove(n % this.#maxKeys);
        throw error;
      } finally {
        this.#stagedCount = 0;
      }
      this.learned = this.#counts[0]! - first;
      return first;
    });
  }

  /** Takes back insertions `from` (inclusive) to `to` (exclusive) of this writer: their rows were not stored. */
  forget(from: number, to: number): void {
    this.#lock.run(() => {
      this.#mask = this.#words[At.mask]!;
      for (let n = Math.max(from, 0, this.#counts[0]! - this.#maxKeys); n < to; n++) this.#remove(n % this.#maxKeys);
    });
  }

  /** All of this writer's insertions below `floor` are stored or forgotten. Wakes those who wait for them. */
  settle(floor: number): void {
    this.#lock.run(() => {
      this.#floors[this.#writer] = floor;
    });
    Atomics.add(this.#words, GENERATIONS + this.#writer, 1);
    Atomics.notify(this.#words, GENERATIONS + this.#writer);
  }

  /** The staged record `i`, when `waitsFor` names another writer. */
  inFlight(i: number): InFlight {
    return {
      insertion: this.hits[i]!,
      writer: this.waitsFor[i]!,
      low: this.#staged[i * WORDS]!,
      high: this.#staged[i * WORDS + 1]!,
    };
  }

  /** Waits until the other writer has synced the record; false when it could not. */
  async stored({ insertion, writer, low, high }: InFlight): Promise<boolean> {
    for (;;) {
      const generation = Atomics.load(this.#words, GENERATIONS + writer);
      const waits = this.#lock.run(() => {
        this.#mask = this.#words[At.mask]!;
        const slot = this.#find(low, high);
        if (slot < 0 || this.#insertionOf(slot) !== insertion) return undefined;
        return insertion >= this.#floors[writer]!;
      });
      if (waits !== true) return waits === false;
      const next = Atomics.waitAsync(this.#words, GENERATIONS + writer, generation);
      if (next.async) await next.value;
    }
  }

  /**
   * Reads the place of each staged key in a table far larger than any cache: the processor fetches many at once, where
   * look-ups that insert would fetch one after the other. What was read is kept, or the compiler would not read it.
   */
  #warmUp(): void {
    for (let i = 0; i < this.#stagedCount; i++) this.#warm[i] = this.#index[this.#staged[i * WORDS]! & this.#mask]!;
  }

  #observe(i: number, writer: number): number {
    const staged = this.#staged;
    const at = i * WORDS;
    let slot = this.#find(staged[at]!, staged[at + 1]!);
    if (slot < 0) {
      this.#insert(at, writer);
      return Seen.New;
    }
    const low = staged[at + 2]!;
    const high = staged[at + 3]!;
    if (!this.#hasContent(slot, low, high)) {
      // A conflict is remembered under a key of its own, so that its retry is a duplicate, and a flood of conflicts
      // under one id does not grow one chain.
      const ownLow = (staged[at]! ^ Math.imul(low, 0x9e3779b1)) >>> 0;
      const ownHigh = (staged[at + 1]! ^ Math.imul(high, 0x85ebca6b) ^ 0x5bd1e995) >>> 0;
      staged[at] = ownLow;
      staged[at + 1] = ownHigh;
      slot = this.#find(ownLow, ownHigh);
      if (slot < 0 || !this.#hasContent(slot, low, high)) {
        if (slot < 0) this.#insert(at, writer);
        return Seen.Conflict;
      }
    }
    const insertion = this.#insertionOf(slot);
    const owner = this.#writers[slot]!;
    this.hits[i] = insertion;
    this.waitsFor[i] = owner !== NOBODY && insertion >= this.#floors[owner]! ? owner : -1;
    return Seen.Duplicate;
  }

  #insertionOf(slot: number): number {
    const last = this.#counts[0]! - 1;
    return last - ((last - slot) % this.#maxKeys);
  }

  #hasContent(slot: number, low: number, high: number): boolean {
    return this.#entries[slot * WORDS + 2] === low && this.#entries[slot * WORDS + 3] === high;
  }

  #find(low: number, high: number): number {
    for (let i = low & this.#mask; ; i = (i + 1) & this.#mask) {
      const slot = this.#index[i]! - 1;
      if (slot < 0) return -1;
      if (this.#entries[slot * WORDS] === low && this.#entries[slot * WORDS + 1] === high) return slot;
    }
  }

  #insert(staged: number, writer: number): void {
    const insertion = this.#counts[0]!;
    const slot = insertion % this.#maxKeys;
    if (insertion >= this.#maxKeys) this.#remove(slot);
    if (this.#counts[1]! * 2 > this.#mask) this.#growIndex();
    for (let i = 0; i < WORDS; i++) this.#entries[slot * WORDS + i] = this.#staged[staged + i]!;
    this.#writers[slot] = writer;
    if (writer !== NOBODY && this.#floors[writer] === Infinity) this.#floors[writer] = insertion;
    this.#place(slot);
    this.#counts[0] = insertion + 1;
    this.#counts[1]!++;
  }

  #place(slot: number): void {
    let i = this.#entries[slot * WORDS]! & this.#mask;
    while (this.#index[i] !== 0) i = (i + 1) & this.#mask;
    this.#index[i] = slot + 1;
  }

  /** Removes a ring slot from the table; nothing happens when it is not there any more. */
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
   * The table takes more of the memory that is there for it, so that it is at most half full. All threads wait meanwhile: a
   * large one takes all of it at once, and this does not come again.
   */
  #growIndex(): void {
    const old = this.#index.slice(0, this.#mask + 1);
    this.#mask = this.#mask < LAST_GROWTH ? this.#mask * 2 + 1 : this.#index.length - 1;
    this.#words[At.mask] = this.#mask;
    this.#index.fill(0, 0, old.length);
    for (const slot of old) if (slot !== 0) this.#place(slot - 1);
  }

  #growStaged(): void {
    const size = this.seen.length * 2;
    const staged = new Uint32Array(size * WORDS);
    staged.set(this.#staged);
    this.#staged = staged;
    this.#warm = new Uint32Array(size);
    this.seen = new Uint8Array(size);
    this.hits = new Float64Array(size);
    this.waitsFor = new Int8Array(size);
  }
}
