import { randomFillSync } from "node:crypto";

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** All pairs of Crockford digits, by their 10 bits. */
const PAIRS: readonly string[] = Array.from(
  { length: 1024 },
  (_, bits) => CROCKFORD.charAt(bits >> 5) + CROCKFORD.charAt(bits & 31),
);

const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/** Copies `length` random bytes to `target`, from a pool: a call into the system for each id would cost a microsecond. */
export function randomInto(target: Uint8Array, offset: number, length: number): void {
  if (used + length > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  for (let i = 0; i < length; i++) target[offset + i] = pool[used + i]!;
  used += length;
}

const seed = Buffer.alloc(8);
let millisecond = -1;
let prefix = "";
let counter = 0;

/**
 * A ULID: 48 bits of time, then 80 bits. Of these, 40 are random for each millisecond and 40 count up from a random
 * start, so that ids of one process sort as they were made.
 */
export function newRecordId(micros: number): string {
  const now = Math.floor(micros / 1000);
  if (now !== millisecond) {
    millisecond = now;
    randomInto(seed, 0, 8);
    prefix = digits(now, 5) + digits(seed.readUInt32BE(0) + (seed[4]! & 0x3f) * 2 ** 32, 4).slice(0, 8);
    counter = seed.readUInt16BE(5) * 256 + seed[7]!;
  }
  counter++;
  return prefix + digits(counter, 4);
}

/** `pairs` pairs of digits of a non-negative integer below 2^53, most significant first. */
function digits(value: number, pairs: number): string {
  let text = "";
  let rest = value;
  for (let i = 0; i < pairs; i++) {
    text = PAIRS[rest % 1024]! + text;
    rest = Math.floor(rest / 1024);
  }
  return text;
}
