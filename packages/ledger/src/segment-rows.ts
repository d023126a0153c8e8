import { hash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameKind, frameEndAfterMarker } from "./frame.ts";
import { ROW_FORMAT, ROW_OFFSET } from "./row-format.ts";
import {
  type SegmentFile,
  type SegmentFooter,
  type SegmentHeader,
  decodeFooter,
  decodeHeader,
  describeWhole,
  parseSegmentFile,
} from "./segment-file.ts";
import { blockOf } from "./segment-writer.ts";
import type { ClosedSegment } from "./types.ts";

/** A closed segment and its rows as one RowBinary block; row `i` is `rows.subarray(offsets[i], offsets[i + 1])`. */
interface SegmentRows {
  readonly segment: ClosedSegment;
  readonly rows: Uint8Array;
  readonly offsets: Uint32Array;
}

/**
 * Reads segments, one at a time and each into the memory of the one before: 64 MiB asked for anew each time cost page faults,
 * and make V8 collect its whole heap. It blocks the thread, which is to have nothing better to do.
 */
export class SegmentReader {
  #memory = Buffer.alloc(0);

  /**
   * Reads a closed segment and checks it: count and hash of its rows as the footer says, sequences without a gap.
   * Throws LedgerError CORRUPT when it is not whole, IO when the file cannot be read.
   *
   * @returns rows that stand there until the next call.
   */
  read(file: string): SegmentRows {
    const joined = joinedRows(file, this.#content(file));
    if (joined !== undefined) return joined;
    const content = this.#content(file);
    return checkedRows(parseSegmentFile(file, content, content.length));
  }

  #content(file: string): Buffer {
    try {
      const fd = fs.openSync(file, "r");
      try {
        return this.#readAll(fd);
      } finally {
        fs.closeSync(fd);
      }
    } catch (error) {
      throw LedgerError.fromIo(`read segment ${path.basename(file)}`, error);
    }
  }

  #readAll(fd: number): Buffer {
    const { size } = fs.fstatSync(fd);
    if (size > this.#memory.length) this.#memory = Buffer.allocUnsafeSlow(size);
    let length = 0;
    while (length < size) {
      const read = fs.readSync(fd, this.#memory, length, size - length, length);
      if (read === 0) break;
      length += read;
    }
    return this.#memory.subarray(0, length);
  }
}

/** As {@link SegmentReader.read}, once. */
export async function readSegment(file: string): Promise<SegmentRows> {
  return new SegmentReader().read(file);
}

/**
 * The rows of a file whose frames are where their lengths say, moved together to the front of its bytes; undefined when
 * anything is odd, which says nothing yet. The hash over all rows is stronger than a checksum for each, and costs less.
 */
function joinedRows(file: string, bytes: Buffer): SegmentRows | undefined {
  let offsets = new Uint32Array(4096);
  let count = 0;
  let end = 0;
  let header: SegmentHeader | undefined;
  let footer: SegmentFooter | undefined;
  let next: number;
  for (let at = FILE_HEADER_BYTES; at < bytes.length; at = next) {
    const start = at + FRAME_HEADER_BYTES;
    if (start > bytes.length) return undefined;
    next = start + bytes.readUInt32LE(at + 12);
    if (next > bytes.length) return undefined;
    const kind = bytes[at + 24];
    if (kind === FrameKind.Data) {
      if (next - start < ROW_OFFSET.end) return undefined;
      bytes.copyWithin(end, start, next);
      end += next - start;
      if (++count === offsets.length) offsets = doubled(offsets);
      offsets[count] = end;
    } else if (kind !== FrameKind.Mark) {
      if (frameEndAfterMarker(bytes, at) !== next) return undefined;
      const payload = bytes.subarray(start, next);
      if (kind === FrameKind.SegmentHeader && header === undefined) header = decodeHeader(payload, file);
      else if (kind === FrameKind.SegmentFooter && footer === undefined) footer = decodeFooter(payload, file);
      else return undefined;
    }
  }
  if (header === undefined || footer === undefined || footer.count !== count || footer.bytes !== end) return undefined;
  const rows = bytes.subarray(0, end);
  if (hash("sha256", rows) !== footer.hash) return undefined;
  for (let i = 0; i < count; i++) {
    const at = offsets[i]!;
    if (rows.readUInt16LE(at + ROW_OFFSET.format) !== ROW_FORMAT) return undefined;
    if (rows.readBigUInt64LE(at + ROW_OFFSET.sequence) !== footer.firstSequence + BigInt(i)) return undefined;
  }
  const { streamId, number, partition } = header;
  const segment = { path: file, streamId, number, partition, rowFormat: ROW_FORMAT, ...footer };
  return { segment, rows, offsets: offsets.subarray(0, count + 1) };
}

/** The same of a file that was read frame by frame, with all checks: for what the short way cannot explain. */
function checkedRows(parsed: SegmentFile): SegmentRows {
  const segment = describeWhole(parsed);
  const { bytes, offsets } = blockOf(parsed.scan.bytes, parsed.rows);
  return { segment, rows: bytes, offsets };
}

function doubled(offsets: Uint32Array): Uint32Array<ArrayBuffer> {
  const wider = new Uint32Array(offsets.length * 2);
  wider.set(offsets);
  return wider;
}
