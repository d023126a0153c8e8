// The log's files as docs/evidence-format.md describes them, read without the ledger's own code: what a flipped bit destroys is
// told from the file, not from what the program under test says of it.
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import type { Random } from "./random.ts";
import type { Item, Records } from "./records.ts";

const FILE_HEADER = 32;
const FRAME_HEADER = 28;

interface Frame {
  readonly start: number;
  readonly end: number;
  readonly synced: number;
}

/** What flipped bits did to a file. */
export interface Damage {
  /** `<stream>-<name>`, as in the quarantine. */
  readonly file: string;
  /** Bytes are gone that the file itself says were synced: the collector has to see it. */
  readonly mustAlarm: boolean;
  /** Records that were in the destroyed bytes, or behind a hole that looks like a torn tail. */
  readonly records: Item[];
  /** How many of them are behind a hole: intact, but cut with it. */
  readonly cut: number;
}

/** Files of the log that have rows, newest last. */
export function logFiles(log: string): string[] {
  const files: { path: string; at: number }[] = [];
  for (const stream of list(log)) {
    for (const name of list(join(log, stream))) {
      const path = join(log, stream, name);
      // Others wait for a salvage to be over: whether they count is not to be seen from them.
      const at = /\.(open|segment)$/.test(name) ? changedAt(path) : undefined;
      if (at !== undefined) files.push({ path, at });
    }
  }
  return files.toSorted((a, b) => a.at - b.at).map(({ path }) => path);
}

/** Flips one to three bits of a file of a dead collector: `below` what its frames say was synced, or `above`. */
export function flipBits(path: string, where: "below" | "above", records: Records, random: Random): Damage | undefined {
  const intact = readFileSync(path);
  const marker = intact.subarray(12, 20);
  const before = frames(intact, marker);
  const closed = path.endsWith(".segment");
  const synced = closed ? intact.length : knownSynced(before);
  const [low, high] = where === "below" ? [0, synced] : [synced, intact.length];
  if (before.length === 0 || high <= low) return undefined;
  const bytes = Buffer.from(intact);
  for (let flips = random.between(1, 3); flips > 0; flips--) {
    bytes[random.between(low, high - 1)]! ^= 1 << random.between(0, 7);
  }
  writeFileSync(path, bytes);
  const after = frames(bytes, marker);
  // A flip may have hit the frame that said how far the file was synced.
  const stillSynced = closed ? bytes.length : knownSynced(after);
  const stands = new Set(after.map(({ start }) => start));
  const holes = before.filter(({ start }) => !stands.has(start)).map(({ start }) => start);
  const headerHit = !bytes.subarray(0, FILE_HEADER).equals(intact.subarray(0, FILE_HEADER));
  if (headerHit) holes.push(0);
  const tail = Math.min(Number.POSITIVE_INFINITY, ...holes.filter((start) => start >= stillSynced));
  const gone = before.filter(({ start }) => start >= tail || holes.includes(start));
  return {
    file: `${basename(dirname(path))}-${basename(path)}`,
    mustAlarm: holes.length > 0,
    records: gone.flatMap(({ start, end }) => records.inBytes(intact.subarray(start, end))),
    cut: gone.filter(({ start }) => start >= tail).length,
  };
}

function knownSynced(all: readonly Frame[]): number {
  return all.reduce((most, { synced }) => Math.max(most, synced), 0);
}

/** The frames whose checksum fits. */
function frames(bytes: Buffer, marker: Buffer): Frame[] {
  const found: Frame[] = [];
  for (let at = FILE_HEADER; at + FRAME_HEADER <= bytes.length;) {
    const end = at + FRAME_HEADER + bytes.readUInt32LE(at + 12);
    const intact =
      bytes.subarray(at, at + 8).equals(marker) &&
      end <= bytes.length &&
      crc32(bytes.subarray(at + 12, end), at) === bytes.readUInt32LE(at + 8);
    if (intact) found.push({ start: at, end, synced: Number(bytes.readBigUInt64LE(at + 16)) });
    const next = intact ? end : bytes.indexOf(marker, at + 1);
    at = next < 0 ? bytes.length : next;
  }
  return found;
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function changedAt(path: string): number | undefined {
  try {
    const { size, mtimeMs } = statSync(path);
    return size > FILE_HEADER ? mtimeMs : undefined;
  } catch {
    return undefined;
  }
}
