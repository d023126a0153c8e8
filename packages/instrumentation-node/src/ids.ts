const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/** All pairs of Crockford digits, by their 10 bits. */
const PAIRS: readonly string[] = Array.from(
  { length: 1024 },
  (_, bits) => CROCKFORD.charAt(bits >> 5) + CROCKFORD.charAt(bits & 31),
);

// Taken before an application could replace it.
const { random } = Math;

/** Random bytes for ids, which have to be different and need not be secret. */
export function randomInto(target: Uint8Array, offset: number, length: number): void {
  for (let at = offset; at < offset + length; at += 4) {
    const word = Math.trunc(random() * 2 ** 32);
    target[at] = word;
    target[at + 1] = word >>> 8;
    target[at + 2] = word >>> 16;
    target[at + 3] = word >>> 24;
  }
}

const seed = Buffer.alloc(8);
let millisecond = -1;
let prefix = "";
let counter = 0;
/** All of an id but its last two digits. */
let stem = "";

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
    stem = prefix + digits(Math.floor(counter / 1024), 3);
  }
  counter++;
  const low = counter % 1024;
  if (low === 0) stem = prefix + digits(Math.floor(counter / 1024), 3);
  return stem + PAIRS[low]!;
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
