import { randomBytes } from "node:crypto";
import { LedgerError } from "./errors.ts";

/** What the window says about a record. */
export const Seen = { New: 0, Duplicate: 1, Conflict: 2 } as const;

const FIRST_ENTRIES = 1024;
const MAX_KEYS = 100_000_000;
const WORDS = 4;
const encoder = new TextEncoder();

/**
 * The keys of the last records (rules O3 and O4): (principal, record id) to the content of the producer's span, by count
 * and not by time. A key is held as a 64-bit keyed fingerprint (HalfSipHash under a random key of this process, so that
 * nobody can prepare two ids that meet), the content as the first 64 bits of its SHA-256. A duplicate needs both equal.
 *
 * Entries stand in a ring in the order of insertion; an open-addressing table of ring slots finds them. 24 bytes a key.
 */
export class RecordWindow {
  readonly #maxKeys: number;
  readonly #key0: number;
  readonly #key1: number;
  /** Ring: key low, key high, content low, content high. */
  #entries: Uint32Array;
  #capacity: number;
  /** Ring slot + 1, or 0. */
  #index: Uint32Array;
  #mask: number;
  #inserted = 0;
  #live = 0;
  #low = 0;
  #high = 0;
  #scratch = new Uint8Array(512);
  /** Insertion number of the entry that the last `observe` found, when it answered Duplicate. */
  hit = -1;

  /** @param maxKeys entries kept, 1 to 100,000,000 */
  constructor(maxKeys: number) {
    if (!Number.isSafeInteger(maxKeys) || maxKeys < 1 || maxKeys > MAX_KEYS) {
      throw new LedgerError("INVALID_ARGUMENT", `windowKeys is ${maxKeys}, must be 1 to ${MAX_KEYS}`);
    }
    const seed = randomBytes(8);
    this.#maxKeys = maxKeys;
    this.#key0 = seed.readUInt32LE(0);
    this.#key1 = seed.readUInt32LE(4);
    this.#capacity = Math.min(FIRST_ENTRIES, maxKeys);
    this.#entries = new Uint32Array(this.#capacity * WORDS);
    this.#index = new Uint32Array(indexSize(this.#capacity));
    this.#mask = this.#index.length - 1;
  }

  /** Keys held. */
  get size(): number {
    return this.#live;
  }

  /** Entries ever added: the insertion number of the next one. */
  get inserted(): number {
    return this.#inserted;
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
    this.observe(
      typeof principal === "string" ? encoder.encode(principal) : principal,
      id,
      0,
      id.length,
      contentHash,
      0,
    );
  }

  /** Looks a record up and remembers it when it is new or in conflict. Returns a `Seen`. */
  observe(
    principal: Uint8Array,
    id: Uint8Array,
    idStart: number,
    idEnd: number,
    content: Uint8Array,
    contentStart: number,
  ): number {
    this.#fingerprint(principal, id, idStart, idEnd);
    const contentLow = word(content, contentStart);
    const contentHigh = word(content, contentStart + 4);
    let slot = this.#find(this.#low, this.#high);
    if (slot < 0) {
      this.#insert(contentLow, contentHigh);
      return Seen.New;
    }
    if (!this.#hasContent(slot, contentLow, contentHigh)) {
      // A conflict is remembered under a key of its own, so that its retry is a duplicate, and a flood of conflicts
      // under one id does not grow one chain.
      this.#low = (this.#low ^ Math.imul(contentLow, 0x9e3779b1)) >>> 0;
      this.#high = (this.#high ^ Math.imul(contentHigh, 0x85ebca6b) ^ 0x5bd1e995) >>> 0;
      slot = this.#find(this.#low, this.#high);
      if (slot < 0 || !this.#hasContent(slot, contentLow, contentHigh)) {
        if (slot < 0) this.#insert(contentLow, contentHigh);
        return Seen.Conflict;
      }
    }
    const last = this.#inserted - 1;
    this.hit = last - ((last - slot) % this.#capacity);
    return Seen.Duplicate;
  }

  /** Takes back the insertions `from` (inclusive) to `to` (exclusive): their rows were not stored. */
  forget(from: number, to: number): void {
    for (let n = Math.max(from, 0, this.#inserted - this.#capacity); n < to; n++) this.#remove(n % this.#capacity);
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

  #insert(contentLow: number, contentHigh: number): void {
    if (this.#inserted >= this.#capacity) {
      if (this.#capacity < this.#maxKeys) this.#grow();
      else this.#remove(this.#inserted % this.#capacity);
    }
    const slot = this.#inserted % this.#capacity;
    this.#entries[slot * WORDS] = this.#low;
    this.#entries[slot * WORDS + 1] = this.#high;
    this.#entries[slot * WORDS + 2] = contentLow;
    this.#entries[slot * WORDS + 3] = contentHigh;
    this.#place(slot);
    this.#inserted++;
    this.#live++;
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
    this.#live--;
    // Shift back what probing would no longer reach across the hole.
    for (let i = (hole + 1) & this.#mask; this.#index[i] !== 0; i = (i + 1) & this.#mask) {
      const home = this.#entries[(this.#index[i]! - 1) * WORDS]! & this.#mask;
      if (((i - home) & this.#mask) < ((i - hole) & this.#mask)) continue;
      this.#index[hole] = this.#index[i]!;
      hole = i;
    }
    this.#index[hole] = 0;
  }

  /** Only before the ring wrapped for the first time, so that every slot keeps its number. */
  #grow(): void {
    const old = this.#index;
    this.#capacity = Math.min(this.#capacity * 2, this.#maxKeys);
    const entries = new Uint32Array(this.#capacity * WORDS);
    entries.set(this.#entries);
    this.#entries = entries;
    this.#index = new Uint32Array(indexSize(this.#capacity));
    this.#mask = this.#index.length - 1;
    for (const slot of old) if (slot !== 0) this.#place(slot - 1);
  }

  /** HalfSipHash-2-4 with 64 bits of output over: length of the principal (u32), principal, record id. */
  #fingerprint(principal: Uint8Array, id: Uint8Array, idStart: number, idEnd: number): void {
    const length = 4 + principal.length + idEnd - idStart;
    if (length + 4 > this.#scratch.length) this.#scratch = new Uint8Array(length * 2);
    const data = this.#scratch;
    data[0] = principal.length;
    data[1] = principal.length >>> 8;
    data[2] = principal.length >>> 16;
    data[3] = principal.length >>> 24;
    for (let i = 0; i < principal.length; i++) data[4 + i] = principal[i]!;
    for (let i = idStart, to = 4 + principal.length; i < idEnd; i++) data[to++] = id[i]!;
    const whole = length & ~3;
    data.fill(0, length, whole + 4);
    data[whole + 3] = length;
    let v0 = this.#key0 | 0;
    let v1 = (this.#key1 ^ 0xee) | 0;
    let v2 = 0x6c796765 ^ this.#key0;
    let v3 = 0x74656462 ^ this.#key1;
    // Words of the message, then four rounds for each half of the output.
    const words = (whole >>> 2) + 1;
    for (let step = 0; step < words + 2; step++) {
      const message = step < words ? word(data, step * 4) | 0 : 0;
      if (step < words) v3 ^= message;
      else if (step === words) v2 ^= 0xee;
      else v1 ^= 0xdd;
      for (let round = step < words ? 2 : 4; round > 0; round--) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      if (step < words) v0 ^= message;
      else if (step === words) this.#low = (v1 ^ v3) >>> 0;
      else this.#high = (v1 ^ v3) >>> 0;
    }
  }
}

/** A power of two that keeps the table at most half full. */
function indexSize(capacity: number): number {
  return 2 ** Math.ceil(Math.log2(capacity * 2));
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
