import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { LedgerError } from "./errors.ts";

/*
 * The bytes of a frame file (rule L1; all integers little-endian; docs/evidence-format.md has the same table).
 *
 * File header, 32 bytes:  0 "otaudlog" | 8 u32 version 1 | 12 marker, 8 random bytes | 20 zeros | 28 u32 CRC-32 of 0..27
 * Frame, 28 bytes + payload:
 *   0 marker of the file | 8 u32 CRC-32 | 12 u32 payload length | 16 u64 synced offset | 24 u8 kind | 25 u8 open bytes
 *   | 26 zeros | 28 payload
 *
 * The CRC covers bytes 12 to the end of the payload without its open bytes, which may be overwritten in place, and starts
 * from the low 32 bits of the frame's own offset. Only intents have open bytes; one that was completed has the CRC of
 * the intent. Marker and
 * offset keep bytes inside a payload, which a producer chooses, from ever being taken for a frame when the reader looks
 * for the next one behind damage: a producer knows neither.
 */
export const FILE_HEADER_BYTES = 32;
export const FRAME_HEADER_BYTES = 28;
export const MARKER_BYTES = 8;
/** Longest payload of one frame. */
export const MAX_FRAME_PAYLOAD = 64 * 1024 * 1024;

/** What a frame's payload is. */
export const FrameKind = {
  /** An application's payload: one row, one span. */
  Data: 0,
  /** Says which segment this file is. First frame of a segment file. */
  SegmentHeader: 1,
  /** Count and hash of a closed segment. Last frame of a segment file. */
  SegmentFooter: 2,
  /** No payload: tells a reader that everything up to its synced offset was synced. */
  Mark: 3,
  /** What is about to be done, in a spool: void once a data frame with its number follows. */
  Intent: 4,
  /** An intent whose open bytes were overwritten by how it ended. */
  Completed: 5,
} as const;

const FILE_MAGIC = Buffer.from("otaudlog", "latin1");
const FORMAT_VERSION = 1;

/** A file header with a fresh random marker. */
export function createFileHeader(): { header: Uint8Array; marker: Uint8Array } {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  const marker = randomBytes(MARKER_BYTES);
  FILE_MAGIC.copy(header, 0);
  header.writeUInt32LE(FORMAT_VERSION, 8);
  marker.copy(header, 12);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  return { header, marker };
}

/** The marker of a file whose header is intact, undefined otherwise. Throws for a newer version of the format. */
export function readFileHeader(bytes: Buffer): Buffer | undefined {
  if (bytes.length < FILE_HEADER_BYTES) return undefined;
  if (bytes.compare(FILE_MAGIC, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32(bytes.subarray(0, 28)) !== bytes.readUInt32LE(28)) return undefined;
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) {
    throw new LedgerError("CORRUPT", `frame file version ${version} is not supported, expected ${FORMAT_VERSION}`);
  }
  return bytes.subarray(12, 20);
}

/**
 * Writes a frame header at `at`, over a payload that already stands behind it.
 * @param fileOffset where the frame will stand in its file, bytes
 * @param openBytes so many of the payload's last bytes may be overwritten later; at most 255
 */
export function writeFrameHeader(
  target: Buffer,
  at: number,
  payloadLength: number,
  marker: Uint8Array,
  kind: number,
  synced: number,
  fileOffset: number,
  openBytes = 0,
): void {
  target.set(marker, at);
  putUint32(target, at + 12, payloadLength);
  putUint32(target, at + 16, synced >>> 0);
  putUint32(target, at + 20, Math.floor(synced / 0x1_0000_0000));
  putUint32(target, at + 24, kind + openBytes * 256);
  putUint32(target, at + 8, frameChecksum(target, at, payloadLength - openBytes, fileOffset));
}

/** Faster than Buffer's own, which checks its arguments. */
function putUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

/** End of the frame at `at` when one stands there intact, -1 otherwise. */
export function frameEnd(bytes: Buffer, at: number, marker: Uint8Array): number {
  const payload = at + FRAME_HEADER_BYTES;
  if (payload > bytes.length) return -1;
  for (let i = 0; i < MARKER_BYTES; i++) if (bytes[at + i] !== marker[i]) return -1;
  return frameEndAfterMarker(bytes, at);
}

/** As `frameEnd`, taking whatever stands at the marker's place for the marker. */
export function frameEndAfterMarker(bytes: Buffer, at: number): number {
  const payload = at + FRAME_HEADER_BYTES;
  if (payload > bytes.length) return -1;
  const length = bytes.readUInt32LE(at + 12);
  const openBytes = bytes[at + 25]!;
  if (length > MAX_FRAME_PAYLOAD || payload + length > bytes.length || openBytes > length) return -1;
  const completed = bytes[at + 24] === FrameKind.Completed;
  if (completed) bytes[at + 24] = FrameKind.Intent;
  const checksum = frameChecksum(bytes, at, length - openBytes, at);
  if (completed) bytes[at + 24] = FrameKind.Completed;
  return checksum === bytes.readUInt32LE(at + 8) ? payload + length : -1;
}

/** The synced offset that an intact frame carries. */
export function frameSynced(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at + 16) + bytes.readUInt32LE(at + 20) * 0x1_0000_0000;
}

function frameChecksum(bytes: Buffer, at: number, covered: number, fileOffset: number): number {
  return crc32(bytes.subarray(at + 12, at + FRAME_HEADER_BYTES + covered), fileOffset >>> 0);
}
