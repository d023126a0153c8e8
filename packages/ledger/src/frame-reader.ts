import * as fs from "node:fs";
import {
  FILE_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FrameKind,
  MARKER_BYTES,
  frameEnd,
  frameEndAfterMarker,
  frameSynced,
  readFileHeader,
} from "./frame.ts";

/** A stretch of a frame file that is not made of intact frames. Offsets in bytes, `end` exclusive. */
export interface FrameDamage {
  readonly start: number;
  readonly end: number;
  /** `torn`: above the last synced offset, the end of an interrupted write. `damaged`: below it, bytes that were safe once. */
  readonly kind: "torn" | "damaged";
}

/** The intact frames of a file, by offset. */
export interface FrameScan {
  readonly bytes: Buffer;
  /** Undefined when not one frame was found. */
  readonly marker: Uint8Array | undefined;
  readonly count: number;
  readonly payloadStart: Uint32Array;
  readonly payloadEnd: Uint32Array;
  readonly kind: Uint8Array;
  /** In file order. A torn tail is the last one. */
  readonly damage: readonly FrameDamage[];
  /** The file is good up to here (apart from `damaged` ranges); cut it here before writing on. */
  readonly end: number;
  /** Frames that stood intact behind the start of the torn tail and are cut with it. */
  readonly framesCut: number;
}

/**
 * Finds the intact frames of a file (rule L1). Never throws for damaged bytes.
 * @param syncedOffset what the caller knows to be synced beyond what the frames say, e.g. a whole closed file
 */
export function scanFrames(file: Uint8Array, syncedOffset = 0): FrameScan {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const frames = new FrameTable();
  const gaps: { start: number; end: number; framesBefore: number }[] = [];
  const header = readFileHeader(bytes);
  const marker = header ?? guessMarker(bytes);
  let at = marker === undefined ? bytes.length : FILE_HEADER_BYTES;
  let synced = Math.min(syncedOffset, bytes.length);
  if (header === undefined && bytes.length > 0) gaps.push({ start: 0, end: at, framesBefore: 0 });
  // Without a marker there is no frame to look for, and `at` is at the end already.
  while (at < bytes.length) {
    const end = frameEnd(bytes, at, marker!);
    if (end >= 0) {
      frames.add(at + FRAME_HEADER_BYTES, end, bytes[at + 24] ?? 0);
      synced = Math.max(synced, frameSynced(bytes, at));
      at = end;
      continue;
    }
    const next = findFrame(bytes, at + 1, marker!);
    gaps.push({ start: at, end: next, framesBefore: frames.count });
    at = next;
  }
  return classify(bytes, marker, frames, gaps, synced);
}

/**
 * The frames of bytes that this process has just written itself and nobody else could: by their lengths, without their
 * checksums.
 */
export function walkFrames(file: Uint8Array): FrameScan {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const frames = new FrameTable();
  for (let at = FILE_HEADER_BYTES; at < bytes.length;) {
    const end = at + FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 12);
    frames.add(at + FRAME_HEADER_BYTES, end, bytes[at + 24] ?? 0);
    at = end;
  }
  const marker = bytes.subarray(12, 12 + MARKER_BYTES);
  return { bytes, marker, count: frames.count, ...frames.arrays(), damage: [], end: bytes.length, framesCut: 0 };
}

/** Reads a frame file in one go. Only data frames are returned. */
export function readFramesSync(path: string): { payloads: Uint8Array[]; damage: readonly FrameDamage[] } {
  return collect(fs.readFileSync(path));
}

/** Reads a frame file in one go. Only data frames are returned. */
export async function readFrames(path: string): Promise<{ payloads: Uint8Array[]; damage: readonly FrameDamage[] }> {
  return collect(await fs.promises.readFile(path));
}

function collect(file: Uint8Array): { payloads: Uint8Array[]; damage: readonly FrameDamage[] } {
  const scan = scanFrames(file);
  const payloads: Uint8Array[] = [];
  for (let i = 0; i < scan.count; i++) {
    if (scan.kind[i] === FrameKind.Data) payloads.push(scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]));
  }
  return { payloads, damage: scan.damage };
}

function classify(
  bytes: Buffer,
  marker: Uint8Array | undefined,
  frames: FrameTable,
  gaps: readonly { start: number; end: number; framesBefore: number }[],
  synced: number,
): FrameScan {
  const damage: FrameDamage[] = [];
  let end = bytes.length;
  let count = frames.count;
  for (const gap of gaps) {
    if (gap.start < synced) {
      damage.push({ start: gap.start, end: gap.end, kind: "damaged" });
      continue;
    }
    // Whatever stands intact behind an unsynced hole was never acknowledged, and its sequence would have the hole too.
    damage.push({ start: gap.start, end: bytes.length, kind: "torn" });
    end = gap.start;
    count = gap.framesBefore;
    break;
  }
  const framesCut = frames.count - count;
  return { bytes, marker, count, ...frames.arrays(), damage, end, framesCut };
}

function findFrame(bytes: Buffer, from: number, marker: Uint8Array): number {
  for (let at = bytes.indexOf(marker, from); at >= 0; at = bytes.indexOf(marker, at + 1)) {
    if (frameEnd(bytes, at, marker) >= 0) return at;
  }
  return bytes.length;
}

/**
 * The marker of a file whose header is damaged: the first frame usually stands; else the marker of those frames, at any
 * offset, that cover most of the file. Self-checking offsets make a wrong guess harmless: it finds no frames.
 */
function guessMarker(bytes: Buffer): Uint8Array | undefined {
  if (frameEndAfterMarker(bytes, FILE_HEADER_BYTES) >= 0) {
    return bytes.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + MARKER_BYTES);
  }
  const covered = new Map<string, number>();
  for (let at = 0; at + FRAME_HEADER_BYTES <= bytes.length; at++) {
    if (!looksLikeFrame(bytes, at)) continue;
    const end = frameEndAfterMarker(bytes, at);
    if (end < 0) continue;
    const marker = bytes.toString("latin1", at, at + MARKER_BYTES);
    covered.set(marker, (covered.get(marker) ?? 0) + end - at);
    at = end - 1;
  }
  let best: string | undefined;
  for (const [marker, size] of covered) if (best === undefined || size > (covered.get(best) ?? 0)) best = marker;
  return best === undefined ? undefined : Buffer.from(best, "latin1");
}

/** Cheap bounds before a checksum is computed at every offset of a damaged file. */
function looksLikeFrame(bytes: Buffer, at: number): boolean {
  return (
    bytes[at + 26] === 0 &&
    bytes[at + 27] === 0 &&
    (bytes[at + 24] ?? 255) <= FrameKind.Completed &&
    bytes.readUInt32LE(at + 12) <= bytes.length - at - FRAME_HEADER_BYTES &&
    frameSynced(bytes, at) <= at
  );
}

class FrameTable {
  count = 0;
  #payloadStart = new Uint32Array(256);
  #payloadEnd = new Uint32Array(256);
  #kind = new Uint8Array(256);

  add(start: number, end: number, kind: number): void {
    if (this.count === this.#kind.length) this.#grow();
    this.#payloadStart[this.count] = start;
    this.#payloadEnd[this.count] = end;
    this.#kind[this.count] = kind;
    this.count++;
  }

  arrays(): { payloadStart: Uint32Array; payloadEnd: Uint32Array; kind: Uint8Array } {
    return { payloadStart: this.#payloadStart, payloadEnd: this.#payloadEnd, kind: this.#kind };
  }

  #grow(): void {
    const size = this.#kind.length * 2;
    const start = new Uint32Array(size);
    const end = new Uint32Array(size);
    const kind = new Uint8Array(size);
    start.set(this.#payloadStart);
    end.set(this.#payloadEnd);
    kind.set(this.#kind);
    this.#payloadStart = start;
    this.#payloadEnd = end;
    this.#kind = kind;
  }
}
