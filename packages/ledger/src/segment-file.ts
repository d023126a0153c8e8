import { createHash } from "node:crypto";
import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameKind } from "./frame.ts";
import { type FrameScan, scanFrames } from "./frame-reader.ts";
import { readRowPlace, uuidBytes, uuidText } from "./row-decode.ts";
import { ROW_FORMAT } from "./row-format.ts";
import type { ClosedSegment } from "./types.ts";

/*
 * Payloads of the two frames that make a frame file a segment (integers little-endian):
 *   header, 48 bytes: u16 version 1 | u16 row format | UUID stream (as in a row) | u64 number | u64 first sequence
 *                     | u32 partition YYYYMM | i64 opened at, ns
 *   footer, 56 bytes: u16 version 1 | u16 row format | u32 count | u64 first sequence | u64 row bytes | 32 bytes SHA-256
 */
const VERSION = 1;
const HEADER_BYTES = 48;
const FOOTER_BYTES = 56;
/** The part of a file that has its segment header. */
export const SEGMENT_START_BYTES = FILE_HEADER_BYTES + FRAME_HEADER_BYTES + HEADER_BYTES;

export interface SegmentHeader {
  readonly streamId: string;
  readonly number: number;
  readonly firstSequence: bigint;
  readonly partition: string;
  readonly openedAt: bigint;
}

export interface SegmentFooter {
  readonly firstSequence: bigint;
  readonly count: number;
  readonly bytes: number;
  readonly hash: string;
}

/** A segment file as its frames show it, before anybody judged whether it is whole. */
export interface SegmentFile {
  readonly path: string;
  readonly scan: FrameScan;
  readonly header: SegmentHeader | undefined;
  readonly footer: SegmentFooter | undefined;
  /** Rows as offsets into `scan.bytes`, in file order. */
  readonly rows: readonly RowRange[];
}

export interface RowRange {
  readonly start: number;
  readonly end: number;
  readonly sequence: bigint;
  readonly receivedAt: bigint;
}

/** The name of a segment file without its ending. */
export function segmentName(number: number): string {
  return String(number).padStart(8, "0");
}

/** `YYYYMM` in UTC of nanoseconds since 1970. */
export function partitionOf(receivedAt: bigint): string {
  const date = new Date(Number(receivedAt / 1_000_000n));
  return String(date.getUTCFullYear() * 100 + date.getUTCMonth() + 1);
}

export function encodeHeader(header: SegmentHeader): Uint8Array {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt16LE(VERSION, 0);
  bytes.writeUInt16LE(ROW_FORMAT, 2);
  bytes.set(uuidBytes(header.streamId), 4);
  bytes.writeBigUInt64LE(BigInt(header.number), 20);
  bytes.writeBigUInt64LE(header.firstSequence, 28);
  bytes.writeUInt32LE(Number(header.partition), 36);
  bytes.writeBigInt64LE(header.openedAt, 40);
  return bytes;
}

export function encodeFooter(footer: SegmentFooter): Uint8Array {
  const bytes = Buffer.alloc(FOOTER_BYTES);
  bytes.writeUInt16LE(VERSION, 0);
  bytes.writeUInt16LE(ROW_FORMAT, 2);
  bytes.writeUInt32LE(footer.count, 4);
  bytes.writeBigUInt64LE(footer.firstSequence, 8);
  bytes.writeBigUInt64LE(BigInt(footer.bytes), 16);
  bytes.write(footer.hash, 24, "hex");
  return bytes;
}

/**
 * Finds the rows of a segment file. Damage is in `scan.damage`; a data frame that holds no row throws CORRUPT, because
 * its checksum says that it was written so.
 * @param synced bytes known to be synced beyond what the frames say; all of them for a closed file
 */
export function parseSegmentFile(file: string, content: Uint8Array, synced: number): SegmentFile {
  const scan = scanFrames(content, synced);
  let header: SegmentHeader | undefined;
  let footer: SegmentFooter | undefined;
  const rows: RowRange[] = [];
  for (let i = 0; i < scan.count; i++) {
    const start = scan.payloadStart[i]!;
    const end = scan.payloadEnd[i]!;
    const kind = scan.kind[i];
    if (kind === FrameKind.SegmentHeader) header ??= decodeHeader(scan.bytes.subarray(start, end), file);
    else if (kind === FrameKind.SegmentFooter) footer = decodeFooter(scan.bytes.subarray(start, end), file);
    else if (kind === FrameKind.Data) rows.push({ start, end, ...readPlace(scan.bytes, start, end, file) });
  }
  return { path: file, scan, header, footer, rows };
}

/** SHA-256 over the concatenation of rows, lower hex, and their bytes. */
export function hashRows(bytes: Uint8Array, rows: readonly RowRange[]): { hash: string; bytes: number } {
  const hash = createHash("sha256");
  let total = 0;
  for (const row of rows) {
    hash.update(bytes.subarray(row.start, row.end));
    total += row.end - row.start;
  }
  return { hash: hash.digest("hex"), bytes: total };
}

/** What a whole, closed file is. Throws LedgerError CORRUPT when anything does not fit. */
export function describeWhole(file: SegmentFile): ClosedSegment {
  const { header, footer, rows, scan } = file;
  const fail = (what: string): never => {
    throw new LedgerError("CORRUPT", `segment ${path.basename(file.path)}: ${what}`);
  };
  const damage = scan.damage[0];
  if (damage !== undefined) return fail(`bytes ${damage.start} to ${damage.end} are damaged`);
  if (header === undefined || footer === undefined) return fail("it has no header or no footer");
  const { hash, bytes } = hashRows(scan.bytes, rows);
  if (rows.length !== footer.count) return fail(`it holds ${rows.length} rows, its footer says ${footer.count}`);
  if (hash !== footer.hash) return fail(`its rows have the hash ${hash}, its footer says ${footer.hash}`);
  const gap = rows.findIndex((row, i) => row.sequence !== footer.firstSequence + BigInt(i));
  if (gap >= 0) return fail(`row ${gap} has the sequence ${rows[gap]!.sequence}`);
  return {
    path: file.path,
    streamId: header.streamId,
    number: header.number,
    firstSequence: footer.firstSequence,
    count: rows.length,
    partition: header.partition,
    rowFormat: ROW_FORMAT,
    bytes,
    hash,
  };
}

export function decodeHeader(payload: Buffer, file: string): SegmentHeader {
  checkVersion(payload, HEADER_BYTES, file);
  return {
    streamId: uuidText(payload.subarray(4, 20)),
    number: Number(payload.readBigUInt64LE(20)),
    firstSequence: payload.readBigUInt64LE(28),
    partition: String(payload.readUInt32LE(36)),
    openedAt: payload.readBigInt64LE(40),
  };
}

export function decodeFooter(payload: Buffer, file: string): SegmentFooter {
  checkVersion(payload, FOOTER_BYTES, file);
  return {
    count: payload.readUInt32LE(4),
    firstSequence: payload.readBigUInt64LE(8),
    bytes: Number(payload.readBigUInt64LE(16)),
    hash: payload.toString("hex", 24, 56),
  };
}

function checkVersion(payload: Buffer, length: number, file: string): void {
  if (payload.length !== length || payload.readUInt16LE(0) !== VERSION || payload.readUInt16LE(2) !== ROW_FORMAT) {
    throw new LedgerError("CORRUPT", `segment ${path.basename(file)}: a header or footer of another version`);
  }
}

function readPlace(bytes: Buffer, start: number, end: number, file: string): { sequence: bigint; receivedAt: bigint } {
  const place = readRowPlace(bytes.subarray(start, end), 0);
  if (place.format !== ROW_FORMAT) {
    throw new LedgerError("CORRUPT", `segment ${path.basename(file)}: a row of format ${place.format}`);
  }
  return { sequence: place.sequence, receivedAt: place.receivedAt };
}
