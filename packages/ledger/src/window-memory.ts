import { LedgerError } from "./errors.ts";
import { word } from "./fingerprint.ts";

// The memory of a window: 16 words of settings, a generation a writer, two counts, a floor a writer; then entries, writers,
// index.

/** Threads that may write to one window. */
export const MAX_WRITERS = 64;
const MAX_KEYS = 100_000_000;
const FIRST_INDEX = 2048;
export const At = { lock: 0, mask: 1, key0: 2, key1: 3, maxKeys: 4 } as const;
export const GENERATIONS = 16;
export const COUNTS = (GENERATIONS + MAX_WRITERS) * 4;
export const FLOORS = COUNTS + 2 * 8;
export const ENTRIES = FLOORS + MAX_WRITERS * 8;
/** Of an entry: key low, key high, content low, content high. */
export const WORDS = 4;

/** Made once a process. */
export function createMemory(maxKeys: number, secret: Uint8Array): SharedArrayBuffer {
  if (!Number.isSafeInteger(maxKeys) || maxKeys < 1 || maxKeys > MAX_KEYS) {
    throw new LedgerError("INVALID_ARGUMENT", `windowKeys is ${maxKeys}, must be 1 to ${MAX_KEYS}`);
  }
  const { index, end } = layout(maxKeys);
  const memory = new SharedArrayBuffer(end);
  const words = new Int32Array(memory, 0, GENERATIONS);
  words[At.mask] = Math.min(FIRST_INDEX, (end - index) / 4) - 1;
  words[At.key0] = word(secret, 0);
  words[At.key1] = word(secret, 4);
  words[At.maxKeys] = maxKeys;
  new Float64Array(memory, FLOORS, MAX_WRITERS).fill(Infinity);
  return memory;
}

export function layout(maxKeys: number): { writers: number; index: number; end: number } {
  const writers = ENTRIES + maxKeys * WORDS * 4;
  const index = writers + Math.ceil(maxKeys / 4) * 4;
  // A power of two that keeps the table at most half full.
  return { writers, index, end: index + 2 ** Math.ceil(Math.log2(maxKeys * 2)) * 4 };
}
