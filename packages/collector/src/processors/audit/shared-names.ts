import { createHash } from "node:crypto";

const BUCKETS = 2_048;
const WAYS = 8;

/** A set of names that all workers see, as 64-bit fingerprints. Bounded: one name more in a full bucket takes the place of another. */
export class SharedNames {
  static readonly byteLength = BUCKETS * WAYS * 8;
  readonly #words: BigInt64Array;
  #victim = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
  }

  has(name: string): boolean {
    const [bucket, fingerprint] = place(name);
    for (let i = 0; i < WAYS; i++) if (Atomics.load(this.#words, bucket + i) === fingerprint) return true;
    return false;
  }

  add(name: string): void {
    const [bucket, fingerprint] = place(name);
    for (let i = 0; i < WAYS; i++) {
      const before = Atomics.compareExchange(this.#words, bucket + i, 0n, fingerprint);
      if (before === 0n || before === fingerprint) return;
    }
    this.#victim = (this.#victim + 1) % WAYS;
    Atomics.store(this.#words, bucket + this.#victim, fingerprint);
  }
}

/** Senders choose names: of another hash they could find two that are the same. */
function place(name: string): [bucket: number, fingerprint: bigint] {
  const digest = createHash("sha256").update(name).digest();
  return [(digest.readUInt32LE(8) % BUCKETS) * WAYS, digest.readBigInt64LE(0) || 1n];
}
