import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import type { FileIo } from "./io.ts";
import { retireFile, salvage } from "./salvage.ts";
import { SegmentAge } from "./segment-age.ts";
import { hashRows, parseSegmentFile, segmentName } from "./segment-file.ts";
import { type RowBlock, type RowSlice, SegmentWriter, type StoredSegment } from "./segment-writer.ts";
import type { LedgerAlarm } from "./types.ts";

/** Rows of one append on their way to the disk. */
export interface PendingRows {
  readonly block: RowBlock;
  /** Of its first row into the window. */
  readonly insertion: number;
  /** 0 for an append that only waits for the rows before it, and for a rotation. */
  readonly count: number;
  readonly firstSequence: bigint;
  readonly receivedAt: bigint;
  /** The same on the monotonic clock. */
  readonly since: number;
  readonly partition: string;
  /** Close the open segment before this is settled. */
  readonly rotate: boolean;
  /** Called once, when all of it and all before it is synced, or when it was refused. */
  readonly settle: (error: LedgerError | undefined) => void;
  /** Rows that are synced. */
  written: number;
}

interface SegmentLogOptions {
  readonly io: FileIo;
  readonly directory: string;
  readonly quarantineDirectory: string;
  readonly streamId: string;
  readonly maxSegmentRows: number;
  readonly maxSegmentBytes: number;
  readonly maxSegmentAgeMs: number;
  /** How many closed segments wait for export. */
  readonly backlog: () => number;
  readonly onClosed: (stored: StoredSegment) => void;
  readonly onAlarm: (alarm: LedgerAlarm) => void;
  /** The disk failed: what is not written of these was not stored. In the order of the log; called before they settle. */
  readonly onRefused: (pending: readonly PendingRows[]) => void;
}

interface BatchPart {
  readonly pending: PendingRows;
  readonly slice: RowSlice;
}

/** Row bytes of one write and sync. Bounds what a frame buffer grows to. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;
const NO_ROWS: RowBlock = { bytes: new Uint8Array(0), offsets: new Uint32Array(1) };

/**
 * Writes rows to segment files with group commit (rules L2 and L4): while a sync runs, appends queue up; as soon as it
 * returns, all that waits is written and synced again.
 *
 * A file whose sync failed is never synced again. Its acknowledged rows are copied to a new closed file, the rows of the
 * failed sync are written to a new open one, and the failed file is removed. When that fails as well, everything that
 * waits is refused, its sequences are given anew, and the next append starts from where this stopped.
 */
export class SegmentLog {
  readonly #options: SegmentLogOptions;
  #queue: PendingRows[] = [];
  #open: SegmentWriter | undefined;
  /** Files with a failed sync, or without any row, that wait to be put away. */
  #retired: SegmentWriter[] = [];
  #lastNumber = 0;
  #failedSyncs = 0;
  #running = false;
  readonly #age: SegmentAge;
  #pendingRows = 0;
  #pendingBytes = 0;

  constructor(options: SegmentLogOptions) {
    this.#options = options;
    this.#age = new SegmentAge(options.maxSegmentAgeMs, options.backlog, () => this.barrier(true));
  }

  /** Row bytes that wait for the disk. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get openRows(): number {
    return this.#pendingRows + (this.#open?.count ?? 0);
  }

  get openBytes(): number {
    return this.#pendingBytes + (this.#open?.bytes ?? 0);
  }

  /** Bytes of the files that are not closed, waiting rows included. */
  get fileBytes(): number {
    return this.#retired.reduce((sum, file) => sum + file.fileBytes, this.#pendingBytes + (this.#open?.fileBytes ?? 0));
  }

  /** When the oldest row that is not in a closed segment came, on the monotonic clock. */
  get oldestSince(): number | undefined {
    const oldest = [...this.#retired, this.#open].find((file) => file?.isEmpty === false);
    return oldest?.since ?? this.#queue.find(({ count }) => count > 0)?.since;
  }

  enqueue(pending: PendingRows): void {
    this.#queue.push(pending);
    this.#pendingRows += pending.count;
    this.#pendingBytes += pending.block.bytes.length;
    if (this.#running) return;
    this.#running = true;
    // Not in this turn: the appends of one turn go into one write.
    queueMicrotask(() => void this.#run());
  }

  /** Waits for everything before; with `rotate` also closes the open segment. Rejects with LedgerError IO. */
  barrier(rotate: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.enqueue({
        block: NO_ROWS,
        insertion: 0,
        count: 0,
        firstSequence: 0n,
        receivedAt: 0n,
        since: 0,
        partition: "",
        rotate,
        settle: (error) => (error === undefined ? resolve() : reject(error)),
        written: 0,
      });
    });
  }

  /** Stops the timer and lets go of the files, whatever their state. Nothing may wait any more. */
  async release(): Promise<void> {
    this.#age.end();
    await this.#open?.abandon();
    for (const file of this.#retired) await file.abandon();
  }

  /** Never rejects: what fails is told to those who wait. */
  async #run(): Promise<void> {
    try {
      while (this.#queue.length > 0) await this.#step();
    } catch (error) {
      this.#failedSyncs = 0;
      this.#refuse(LedgerError.fromIo("write the log", error));
    } finally {
      this.#running = false;
    }
  }

  async #step(): Promise<void> {
    for (const file of this.#retired.slice()) await this.#putAway(file);
    const first = this.#queue[0]!;
    if (first.written === first.count) {
      if (first.rotate && this.#open !== undefined) await this.#closeOpen(this.#open);
      else this.#queue.shift()!.settle(undefined);
    } else if (this.#open !== undefined && !this.#fits(this.#open, first)) {
      await this.#closeOpen(this.#open);
    } else {
      this.#open ??= await this.#create(first);
      await this.#writeBatch(this.#open);
    }
  }

  #fits(segment: SegmentWriter, pending: PendingRows): boolean {
    const { offsets } = pending.block;
    const next = offsets[pending.written + 1]! - offsets[pending.written]!;
    return (
      !segment.finished &&
      pending.partition === segment.header.partition &&
      segment.count < this.#options.maxSegmentRows &&
      (segment.isEmpty || segment.bytes + next <= this.#options.maxSegmentBytes)
    );
  }

  #create(first: PendingRows): Promise<SegmentWriter> {
    const { io, directory, streamId } = this.#options;
    return SegmentWriter.create(io, directory, {
      streamId,
      number: ++this.#lastNumber,
      firstSequence: first.firstSequence + BigInt(first.written),
      partition: first.partition,
      openedAt: first.receivedAt,
    });
  }

  async #writeBatch(segment: SegmentWriter): Promise<void> {
    const batch = this.#takeBatch(segment);
    try {
      await segment.append(batch.map(({ slice }) => slice));
    } catch (error) {
      this.#setAside(segment, error);
      return;
    }
    this.#failedSyncs = 0;
    for (const { pending, slice } of batch) {
      pending.written = slice.to;
      this.#pendingRows -= slice.to - slice.from;
      this.#pendingBytes -= slice.block.offsets[slice.to]! - slice.block.offsets[slice.from]!;
    }
    while (this.#queue[0] !== undefined && this.#queue[0].written === this.#queue[0].count && !this.#queue[0].rotate) {
      this.#queue.shift()!.settle(undefined);
    }
    this.#age.start();
    if (this.#queue.length === 0) await segment.mark();
  }

  /** Rows from the head of the queue that fit into the segment and into one write. At least one, as `#fits` said so. */
  #takeBatch(segment: SegmentWriter): BatchPart[] {
    const { maxSegmentRows, maxSegmentBytes } = this.#options;
    const batch: BatchPart[] = [];
    let rows = segment.count;
    let bytes = 0;
    for (const pending of this.#queue) {
      if (pending.rotate || (pending.count > 0 && pending.partition !== segment.header.partition)) break;
      const { block, written: from, count } = pending;
      let to = from;
      while (to < count && rows < maxSegmentRows) {
        const size = block.offsets[to + 1]! - block.offsets[to]!;
        const limit = Math.min(maxSegmentBytes - segment.bytes, MAX_BATCH_BYTES);
        if (bytes > 0 && bytes + size > limit) break;
        bytes += size;
        rows++;
        to++;
      }
      if (to > from) batch.push({ pending, slice: { block, from, to, insertion: pending.insertion } });
      if (to < count) break;
    }
    return batch;
  }

  async #closeOpen(segment: SegmentWriter): Promise<void> {
    const finalPath = path.join(this.#options.directory, `${segmentName(segment.header.number)}.segment`);
    let stored: StoredSegment;
    try {
      stored = await segment.finish(finalPath);
    } catch (error) {
      this.#setAside(segment, error);
      return;
    }
    this.#failedSyncs = 0;
    this.#open = undefined;
    this.#age.stop();
    this.#options.onClosed(stored);
  }

  /**
   * After a failure on the open file. A failed write (disk full) leaves a file with rows usable, and is thrown on. A
   * failed sync retires the file; the first one in a row is not thrown, so that the loop tries the rows in a new file.
   */
  #setAside(segment: SegmentWriter, error: unknown): void {
    if (!segment.poisoned && !segment.isEmpty) throw error;
    this.#open = undefined;
    this.#retired.push(segment);
    if (!segment.poisoned) throw error;
    this.#options.onAlarm({
      code: "SYNC_FAILED",
      message: `${path.basename(segment.path)}: the disk did not confirm a write; its rows go to a new file`,
      path: segment.path,
      cause: error,
    });
    this.#failedSyncs++;
    if (this.#failedSyncs > 1) throw error;
  }

  /** Copies what is acknowledged of a retired file to a new closed one and removes it. */
  async #putAway(retired: SegmentWriter): Promise<void> {
    const { io, onAlarm, onClosed, quarantineDirectory, streamId } = this.#options;
    await retired.abandon();
    if (retired.isEmpty) {
      await retireFile(io, retired.path, { kind: "remove" });
    } else {
      const file = parseSegmentFile(retired.path, await io.read(retired.path), retired.synced);
      const { segment, keys } = retired.describe("");
      const { firstSequence, count, hash } = segment;
      const rows = file.rows.filter(({ sequence }) => sequence < firstSequence + BigInt(count));
      const intact = hashRows(file.scan.bytes, rows).hash === hash;
      const retire = intact
        ? ({ kind: "remove" } as const)
        : ({ kind: "quarantine", directory: quarantineDirectory } as const);
      const stored = await salvage(io, file, rows, streamId, () => ++this.#lastNumber, retire);
      if (!intact) {
        const message = `${path.basename(retired.path)}: ${count} rows were acknowledged, ${rows.length} are intact`;
        onAlarm({ code: "DAMAGED", message, path: retired.path });
      }
      // As a rule there is one. The last to be shipped has the keys: only then all of their rows are in the table.
      for (const one of stored) onClosed(one === stored.at(-1) ? { ...one, keys } : one);
    }
    this.#retired = this.#retired.filter((file) => file !== retired);
  }

  #refuse(error: LedgerError): void {
    const refused = this.#queue;
    this.#queue = [];
    this.#pendingRows = 0;
    this.#pendingBytes = 0;
    this.#options.onRefused(refused);
    if (this.#open !== undefined) this.#age.start();
    for (const pending of refused) pending.settle(error);
  }
}
