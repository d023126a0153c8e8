import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { LedgerError } from "./errors.ts";
import { Fingerprint, word } from "./fingerprint.ts";
import { KeyTable } from "./key-table.ts";
import { Mutex } from "./mutex.ts";
import { At, COUNTS, createMemory, FLOORS, GENERATIONS, MAX_WRITERS, WORDS } from "./window-memory.ts";

/** What the window says about a record. */
export const Seen = { New: 0, Duplicate: 1, Conflict: 2 } as const;

/** Writers of an entry that earlier processes left in the log, and of one that only the table has. */
const LOG = 255;
const TABLE = 254;
/** Entries that are looked at under one lock. */
const STEP = 16_384;
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
 * Each thread that writes records is a writer. Its appends reach the disk in the order of their insertions, so one number
 * a writer (its floor) says which of its entries are not synced yet.
 */
export class RecordWindow {
  /** For other threads. */
  readonly memory: SharedArrayBuffer;
  readonly #writer: number;
  readonly #words: Int32Array;
  readonly #lock: Mutex;
  readonly #fingerprint: Fingerprint;
  readonly #table: KeyTable;
  /** The first insertion of each writer that is not synced; Infinity: all are. */
  readonly #floors: Float64Array;
  /** Keys of one append, as entries. */
  #staged = new Uint32Array(1024 * WORDS);
  #stagedCount = 0;
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
    this.#writer = writer;
    this.#lock = new Mutex(this.#words, At.lock);
    this.#fingerprint = new Fingerprint(this.#words[At.key0]!, this.#words[At.key1]!);
    this.#table = new KeyTable(this.memory);
    this.#floors = new Float64Array(this.memory, FLOORS, MAX_WRITERS);
  }

  /** Keys held. */
  get size(): number {
    return this.#locked(() => this.#table.size);
  }

  /** Entries ever added: the insertion number of the next one. */
  get inserted(): number {
    return this.#locked(() => this.#table.inserted);
  }

  /**
   * Learns a record that the table has.
   * @param contentHash the ContentHash column; at least 8 bytes
   */
  remember(principal: string | Uint8Array, recordId: string | Uint8Array, contentHash: Uint8Array): void {
    if (contentHash.length < 8) {
      throw new LedgerError("INVALID_ARGUMENT", `a content hash has ${contentHash.length} bytes, needs at least 8`);
    }
    const id = typeof recordId === "string" ? encoder.encode(recordId) : recordId;
    this.unstage();
    this.stage(typeof principal === "string" ? encoder.encode(principal) : principal, id, 0, id.length, contentHash, 0);
    this.commit("table");
  }

  /** Of the fingerprints; another window can restore entries of this one only with it. */
  get secret(): Uint8Array {
    return Uint8Array.from(new Uint8Array(this.memory, At.key0 * 4, 8));
  }

  /** The entries of insertions `from` to `to` (exclusive), as far as they are still there. */
  entries(from: number, to: number): Uint8Array {
    return this.#locked(() => new Uint8Array(this.#table.copy(from, to).buffer));
  }

  /** Learns what `entries` gave, of a window with the same secret; the table has these records. */
  restore(entries: Uint8Array): void {
    this.unstage();
    for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
      if (this.#stagedCount === this.seen.length) this.#growStaged();
      const to = this.#stagedCount++ * WORDS;
      for (let i = 0; i < WORDS; i++) this.#staged[to + i] = word(entries, at + i * 4);
    }
    this.commit("table");
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
   * @param stored where they are already: in the log of earlier processes, or only in the table
   * @returns the insertion number of the first that it learned; the others follow it
   */
  commit(stored?: "log" | "table"): number {
    const writer = stored === undefined ? this.#writer : stored === "log" ? LOG : TABLE;
    return this.#locked(() => {
      const first = this.#table.inserted;
      this.#table.warmUp(this.#staged, this.#stagedCount);
      try {
        for (let i = 0; i < this.#stagedCount; i++) this.seen[i] = this.#observe(i, writer);
      } catch (error) {
        this.#table.forget(first, this.#table.inserted);
        throw error;
      } finally {
        this.#stagedCount = 0;
      }
      this.learned = this.#table.inserted - first;
      return first;
    });
  }

  /** Takes back insertions `from` (inclusive) to `to` (exclusive) of this writer: their rows were not stored. */
  forget(from: number, to: number): void {
    this.#locked(() => this.#table.forget(from, to));
  }

  /** The table has insertions `from` to `to` (exclusive) now, and the log no longer. */
  ship(from: number, to: number): void {
    this.#locked(() => this.#table.give(from, to, TABLE));
  }

  /**
   * Forgets what only the table has. The other threads go on meanwhile.
   * @returns the first insertion that it still knows, or the next one
   */
  async forgetShipped(): Promise<number> {
    const { inserted } = this;
    let kept = inserted;
    for (let from = 0; from < inserted; from += STEP) {
      const to = Math.min(from + STEP, inserted);
      const other = this.#locked(() => this.#table.forgetOf(TABLE, from, to));
      if (other < to) kept = Math.min(kept, other);
      await setImmediate();
    }
    return kept;
  }

  /** All of this writer's insertions below `floor` are stored or forgotten. Wakes those who wait for them. */
  settle(floor: number): void {
    this.#locked(() => {
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
      const waits = this.#locked(() => {
        const slot = this.#table.find(low, high);
        if (slot < 0 || this.#table.insertionOf(slot) !== insertion) return undefined;
        return insertion >= this.#floors[writer]!;
      });
      if (waits !== true) return waits === false;
      const next = Atomics.waitAsync(this.#words, GENERATIONS + writer, generation);
      if (next.async) await next.value;
    }
  }

  #observe(i: number, writer: number): number {
    const staged = this.#staged;
    const table = this.#table;
    const at = i * WORDS;
    let slot = table.find(staged[at]!, staged[at + 1]!);
    if (slot < 0) {
      this.#learn(at, writer);
      return Seen.New;
    }
    const low = staged[at + 2]!;
    const high = staged[at + 3]!;
    if (!table.hasContent(slot, low, high)) {
      // A conflict is remembered under a key of its own, so that its retry is a duplicate, and a flood of conflicts
      // under one id does not grow one chain.
      const ownLow = (staged[at]! ^ Math.imul(low, 0x9e3779b1)) >>> 0;
      const ownHigh = (staged[at + 1]! ^ Math.imul(high, 0x85ebca6b) ^ 0x5bd1e995) >>> 0;
      staged[at] = ownLow;
      staged[at + 1] = ownHigh;
      slot = table.find(ownLow, ownHigh);
      if (slot < 0 || !table.hasContent(slot, low, high)) {
        if (slot < 0) this.#learn(at, writer);
        return Seen.Conflict;
      }
    }
    const insertion = table.insertionOf(slot);
    const owner = table.writerOf(slot);
    if (writer === LOG && owner === TABLE) {
      // It was not removed from the log: so it is known as long as it is there, whatever becomes of the table.
      table.forget(insertion, insertion + 1);
      this.#learn(at, writer);
    }
    this.hits[i] = insertion;
    this.waitsFor[i] = owner < MAX_WRITERS && insertion >= this.#floors[owner]! ? owner : -1;
    return Seen.Duplicate;
  }

  /** Adds the staged entry at `at`. */
  #learn(at: number, writer: number): void {
    const insertion = this.#table.insert(this.#staged, at, writer);
    if (writer < MAX_WRITERS && this.#floors[writer] === Infinity) this.#floors[writer] = insertion;
  }

  /** All that reads or changes the memory of the window, but for the generations. */
  #locked<T>(work: () => T): T {
    return this.#lock.run(() => {
      this.#table.refresh();
      return work();
    });
  }

  #growStaged(): void {
    const size = this.seen.length * 2;
    const staged = new Uint32Array(size * WORDS);
    staged.set(this.#staged);
    this.#staged = staged;
    this.seen = new Uint8Array(size);
    this.hits = new Float64Array(size);
    this.waitsFor = new Int8Array(size);
  }
}
