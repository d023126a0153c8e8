import { createHash } from "node:crypto";
import { CollectorError } from "../../errors.ts";
import { MAX_CREDENTIALS } from "./config.ts";

/** A power of two above what can be configured; credentials that are gone keep theirs until the process ends. */
const SLOTS = 16_384;
/** Of a slot, in 64-bit words: whose it is, until when its rate is used up, bytes under way, since when misuses are counted, and by whom. */
const Word = { owner: 0, busyUntil: 1, held: 2, since: 3, firstAgent: 4, agents: 8, count: 12 } as const;
/** Milliseconds for which a misuse that is on record is not worth another one. */
const MISUSE_WINDOW_MS = 3_600_000n;
const NS_PER_S = 1e9;
const MAX_NS = 1e18;
const NS_PER_MS = 1_000_000n;

interface RateLimit {
  readonly recordsPerSecond: number;
  readonly burst: number;
}

/** What all workers have to agree on about credentials: how much each has used and has under way, and which misuses are on record. */
export class SharedState {
  static readonly byteLength = SLOTS * Word.count * 8;
  readonly #words: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
  }

  /** The slot of a credential: the same in every worker. @throws CollectorError `INVALID_CONFIG` when there is none left */
  slot(id: string): number {
    const owner = fingerprint(id);
    const first = Number(BigInt.asUintN(32, owner));
    for (let probe = 0; probe < SLOTS; probe++) {
      const slot = ((first + probe) & (SLOTS - 1)) * Word.count;
      const before = Atomics.compareExchange(this.#words, slot + Word.owner, 0n, owner);
      if (before === 0n || before === owner) return slot;
    }
    throw new CollectorError(
      "INVALID_CONFIG",
      `there were more than ${SLOTS} different credentials since the collector started (at most ${MAX_CREDENTIALS} at a time); start it again`,
    );
  }

  /**
   * A token bucket as the time at which it is full again (the generic cell rate algorithm). More records than `burst`
   * at once pass when the bucket is full, and are paid for afterwards: or they never would.
   * @returns 0, or milliseconds to wait, and then nothing was counted
   */
  take(slot: number, records: number, limit: RateLimit): number {
    const at = slot + Word.busyUntil;
    const room = duration(limit.burst, limit);
    const needed = duration(Math.min(records, limit.burst), limit);
    const now = process.hrtime.bigint();
    for (;;) {
      const busyUntil = Atomics.load(this.#words, at);
      const from = busyUntil > now ? busyUntil : now;
      const wait = from - now + needed - room;
      if (wait > 0n) return Math.max(1, Math.ceil(Number(wait) / Number(NS_PER_MS)));
      const next = from + duration(records, limit);
      if (Atomics.compareExchange(this.#words, at, busyUntil, next) === busyUntil) return 0;
    }
  }

  giveBack(slot: number, records: number, limit: RateLimit): void {
    Atomics.sub(this.#words, slot + Word.busyUntil, duration(records, limit));
  }

  /** Adds to the bytes under way, and gives how many there are now. */
  hold(slot: number, bytes: number): number {
    return Number(Atomics.add(this.#words, slot + Word.held, BigInt(bytes))) + bytes;
  }

  /** Whether this is the first misuse of a credential by this agent in an hour, and among the first few of it. */
  isNewMisuse(slot: number, agent: string): boolean {
    const words = this.#words;
    const now = process.hrtime.bigint() / NS_PER_MS;
    const since = Atomics.load(words, slot + Word.since);
    if (since === 0n || now - since > MISUSE_WINDOW_MS) {
      if (Atomics.compareExchange(words, slot + Word.since, since, now) === since) {
        for (let i = 0; i < Word.agents; i++) Atomics.store(words, slot + Word.firstAgent + i, 0n);
      }
    }
    const who = fingerprint(agent);
    for (let i = 0; i < Word.agents; i++) {
      const before = Atomics.compareExchange(words, slot + Word.firstAgent + i, 0n, who);
      if (before === 0n) return true;
      if (before === who) return false;
    }
    return false;
  }
}

/** Nanoseconds in which so many records may come; at most some 30 years, so that no sum of them leaves 64 bits. */
function duration(records: number, { recordsPerSecond }: RateLimit): bigint {
  return BigInt(Math.min(MAX_NS, Math.ceil((records * NS_PER_S) / recordsPerSecond)));
}

/** 64 bits, never 0. */
function fingerprint(text: string): bigint {
  return createHash("sha256").update(text).digest().readBigInt64LE() || 1n;
}
