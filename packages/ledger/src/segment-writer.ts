import { createHash } from "node:crypto";
import * as path from "node:path";
import { FrameKind } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { FileIo } from "./io.ts";
import { type RowRange, type SegmentHeader, encodeFooter, encodeHeader, segmentName } from "./segment-file.ts";
import { ROW_FORMAT } from "./row-format.ts";
import type { KeyRange } from "./key-log.ts";
import type { ClosedSegment } from "./types.ts";

/** A closed segment and what only the log needs to know of it. */
export interface StoredSegment {
  readonly segment: ClosedSegment;
  readonly fileBytes: number;
  /** ReceivedAt of its first row, ns. */
  readonly openedAt: bigint;
  /** The same on this thread's monotonic clock, ms. */
  readonly since: number;
  /** Its rows' insertions into the window. */
  readonly keys: readonly KeyRange[];
}

/** Rows that stand one behind the other in `bytes`; row `i` from `offsets[i]` to `offsets[i + 1]`. */
export interface RowBlock {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
}

/** A stretch of a block, as row numbers; `to` exclusive. */
export interface RowSlice {
  /** Insertion of the block's first row into the window; undefined for rows that are only moved. */
  readonly insertion?: number;
  readonly block: RowBlock;
  readonly from: number;
  readonly to: number;
}

/** Writes one segment file. All calls one after the other. */
export class SegmentWriter {
  readonly header: SegmentHeader;
  /** When it was begun, on the monotonic clock. */
  readonly since = performance.now();
  /** Rows and row bytes that are synced. */
  count = 0;
  bytes = 0;
  /** A sync failed: the file must not be written any more (L2). */
  poisoned = false;
  /** The insertions into the window of the synced rows. */
  readonly #keys: KeyRange[] = [];
  readonly #io: FileIo;
  readonly #writer: FrameWriter;
  readonly #hash = createHash("sha256");
  #named = false;
  #finished = false;
  #path: string;

  private constructor(io: FileIo, writer: FrameWriter, header: SegmentHeader) {
    this.#io = io;
    this.#writer = writer;
    this.#path = writer.path;
    this.header = header;
  }

  /** @param ending `.open`, or the name under which a rewritten file waits for its source to go */
  static async create(io: FileIo, directory: string, header: SegmentHeader, ending = ".open"): Promise<SegmentWriter> {
    const file = path.join(directory, segmentName(header.number) + ending);
    const writer = await FrameWriter.create(file, io);
    const payload = encodeHeader(header);
    writer.add(payload, 0, payload.length, FrameKind.SegmentHeader);
    return new SegmentWriter(io, writer, header);
  }

  get path(): string {
    return this.#path;
  }

  /** The footer is written: no row can follow. */
  get finished(): boolean {
    return this.#finished;
  }

  /** File bytes known to be on disk. */
  get synced(): number {
    return this.#writer.synced;
  }

  get fileBytes(): number {
    return this.#writer.position;
  }

  /** Nothing was ever written: the file can go. */
  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Writes and syncs rows. When it resolves they are on disk, and so is the file's name. */
  async append(slices: readonly RowSlice[]): Promise<void> {
    for (const { block, from, to } of slices) {
      for (let i = from; i < to; i++) this.#writer.add(block.bytes, block.offsets[i], block.offsets[i + 1]);
    }
    await this.#writer.flush();
    await this.#sync();
    for (const { block, from, to, insertion } of slices) {
      if (insertion !== undefined) this.#addKeys(insertion + from, insertion + to);
      const rows = block.bytes.subarray(block.offsets[from], block.offsets[to]);
      this.#hash.update(rows);
      this.bytes += rows.length;
      this.count += to - from;
    }
  }

  /** Tells later readers that all of this was synced. Not synced itself, and nothing depends on it. */
  async mark(): Promise<void> {
    this.#writer.add(new Uint8Array(0), 0, 0, FrameKind.Mark);
    await this.#writer.flush().catch(() => undefined);
  }

  /** Writes the footer, closes the file and gives it its final name. After a failure that did not poison it, call again. */
  async finish(finalPath: string): Promise<StoredSegment> {
    const stored = this.describe(finalPath);
    if (!this.#finished) {
      const footer = encodeFooter(stored.segment);
      this.#writer.add(footer, 0, footer.length, FrameKind.SegmentFooter);
      await this.#writer.flush();
      await this.#sync();
      this.#finished = true;
    }
    await this.#writer.close();
    if (finalPath !== this.#path) await this.#io.rename(this.#path, finalPath);
    this.#path = finalPath;
    await this.#io.syncDirectory(path.dirname(finalPath));
    return { ...stored, fileBytes: this.fileBytes };
  }

  /** The segment that the synced rows make. */
  describe(finalPath: string): StoredSegment {
    const { streamId, number, firstSequence, partition, openedAt } = this.header;
    const segment: ClosedSegment = {
      path: finalPath,
      streamId,
      number,
      firstSequence,
      count: this.count,
      partition,
      rowFormat: ROW_FORMAT,
      bytes: this.bytes,
      hash: this.#hash.copy().digest("hex"),
    };
    return { segment, fileBytes: this.fileBytes, openedAt, since: this.since, keys: this.#keys };
  }

  /** Closes the descriptor; the file stays as it is. */
  async abandon(): Promise<void> {
    await this.#writer.close().catch(() => undefined);
  }

  #addKeys(from: number, to: number): void {
    const last = this.#keys.at(-1);
    // One after the other, as a rule: a segment is a few ranges.
    if (last?.to === from) this.#keys[this.#keys.length - 1] = { from: last.from, to };
    else this.#keys.push({ from, to });
  }

  async #sync(): Promise<void> {
    try {
      await this.#writer.sync();
      if (!this.#named) await this.#io.syncDirectory(path.dirname(this.path));
      this.#named = true;
    } catch (error) {
      this.poisoned = true;
      throw error;
    }
  }
}

/** The rows of a scanned file as a block. */
export function blockOf(bytes: Uint8Array, rows: readonly RowRange[]): RowBlock {
  const offsets = new Uint32Array(rows.length + 1);
  for (const [i, row] of rows.entries()) offsets[i + 1] = offsets[i]! + row.end - row.start;
  const block = new Uint8Array(offsets[rows.length]!);
  for (const [i, row] of rows.entries()) block.set(bytes.subarray(row.start, row.end), offsets[i]);
  return { bytes: block, offsets };
}
