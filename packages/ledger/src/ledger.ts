import { randomUUID } from "node:crypto";
import * as path from "node:path";
import type { SpanIndex } from "@otel-audit/otlp";
import { Admission } from "./admission.ts";
import { Backlog } from "./backlog.ts";
import { LedgerDirectory, type LedgerShare } from "./directory.ts";
import { LedgerError } from "./errors.ts";
import { makeDirectory } from "./io.ts";
import { KeyLog, shippedRow } from "./key-log.ts";
import { type ResolvedOptions, resolveOptions } from "./options.ts";
import { ReceiveClock } from "./receive-clock.ts";
import { uuidBytes } from "./row-decode.ts";
import { type Encoded, RowBatch } from "./row-batch.ts";
import { placeRows } from "./row-encoder.ts";
import { partitionOf } from "./segment-file.ts";
import { type PendingRows, SegmentLog } from "./segment-log.ts";
import type { StoredSegment } from "./segment-writer.ts";
import { ShippedRows } from "./shipped-rows.ts";
import type { AppendResult, ClosedSegment, CollectorFacts, LedgerAlarm, LedgerOptions, LedgerStats } from "./types.ts";
import { RecordWindow } from "./window.ts";
import { MAX_WRITERS } from "./window-memory.ts";

/**
 * A stream of a durable log of audit records: spans in, rows on disk, closed segments out. Every open starts a new stream
 * with sequences from 1. A process with several threads has one `LedgerDirectory`, and a stream in each thread.
 */
export class Ledger {
  /** UUID of this stream. */
  readonly streamId: string;
  /** Keys of stored records; refill it from the table after `open` and before the first append. */
  readonly window: RecordWindow;
  readonly #options: ResolvedOptions;
  readonly #directory: LedgerDirectory | undefined;
  readonly #admission: Admission;
  readonly #clock: ReceiveClock;
  readonly #log: SegmentLog;
  readonly #keys: KeyLog;
  readonly #shipped: ShippedRows;
  readonly #stream: Uint8Array;
  readonly #batch: RowBatch;
  readonly #backlog: Backlog;
  #nextSequence = 1n;
  #closing: Promise<void> | undefined;
  /** Which insertions into the window belong to which waiting append. */
  readonly #insertions = new Map<PendingRows, number>();

  private constructor(options: ResolvedOptions, share: LedgerShare, writer: number, directory?: LedgerDirectory) {
    this.streamId = randomUUID();
    this.window = new RecordWindow(share.window, writer);
    this.#options = options;
    this.#directory = directory;
    this.#admission = new Admission(options, share.bytes);
    this.#clock = new ReceiveClock(options.now, (alarm) => this.#alarm(alarm));
    const recovered = writer === 0 ? share.recovered : [];
    this.#backlog = new Backlog(
      options.io,
      recovered.map((stored) => ({ ...stored, since: this.#clock.monotonic(stored.openedAt) })),
    );
    this.#stream = uuidBytes(this.streamId);
    this.#batch = new RowBatch(this.window, writer);
    this.#keys = new KeyLog(options.io, options.dir, this.window, options.windowKeys);
    this.#shipped = new ShippedRows(share.shipped);
    this.#log = new SegmentLog({
      io: options.io,
      directory: path.join(options.dir, "log", this.streamId),
      quarantineDirectory: path.join(options.dir, "quarantine"),
      streamId: this.streamId,
      maxSegmentRows: options.maxSegmentRows,
      maxSegmentBytes: options.maxSegmentBytes,
      maxSegmentAgeMs: options.maxSegmentAgeMs,
      backlog: () => this.#backlog.count,
      onClosed: (stored) => this.#onClosed(stored),
      onAlarm: (alarm) => this.#alarm(alarm),
      onRefused: (pending) => this.#onRefused(pending),
    });
  }

  /**
   * Opens the directory and its only stream.
   * Throws LedgerError: INVALID_ARGUMENT for options, LOCKED, IO, CORRUPT for files of a version that is not known.
   */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const resolved = resolveOptions(options);
    const directory = await LedgerDirectory.open(options);
    try {
      return await Ledger.#start(resolved, directory.share, 0, directory);
    } catch (error) {
      await directory.close();
      throw error;
    }
  }

  /**
   * Opens one of several streams of a directory. Bounds of bytes hold for all of them together.
   * @param share of the directory; close that after its streams
   * @param writer number of this stream, from 0 to 63; that of 0 ships what earlier processes left
   */
  static join(options: LedgerOptions, share: LedgerShare, writer: number): Promise<Ledger> {
    if (!Number.isInteger(writer) || writer < 0 || writer >= MAX_WRITERS) {
      throw new LedgerError("INVALID_ARGUMENT", `writer is ${writer}, must be 0 to ${MAX_WRITERS - 1}`);
    }
    return Ledger.#start(resolveOptions(options), share, writer);
  }

  static async #start(
    options: ResolvedOptions,
    share: LedgerShare,
    writer: number,
    directory?: LedgerDirectory,
  ): Promise<Ledger> {
    const ledger = new Ledger(options, share, writer, directory);
    try {
      await makeDirectory(options.io, path.join(options.dir, "log", ledger.streamId));
    } catch (error) {
      throw LedgerError.fromIo(`open the ledger in ${options.dir}`, error);
    }
    await ledger.#admission.start();
    await ledger.#keys.reserve();
    ledger.#publish();
    return ledger;
  }

  /**
   * Stores the spans of a request whose flags have a bit of `mask` and not SPAN_MALFORMED.
   *
   * All of them are encoded in one turn of the event loop: a large request is better appended in parts, one after the other.
   *
   * Resolves only when all their rows are synced to disk, and the first copies of all duplicates too. The index and its
   * bytes are not used any more once the call has returned its promise. Rejects with LedgerError; then nothing may be
   * acknowledged to the producer, and a retry of the same spans neither loses nor doubles any.
   *
   * @param from first span of a part, and `to` the one behind its last; absent: all spans
   */
  async append(
    index: SpanIndex,
    mask: number,
    facts: CollectorFacts,
    from = 0,
    to = index.count,
  ): Promise<AppendResult> {
    if (this.#closing !== undefined) throw new LedgerError("CLOSED", "the ledger is closed");
    this.#admission.checkRequest(to > from ? index.end[to - 1]! - index.start[from]! : 0);
    const { encoded, settled } = this.#take(() => this.#batch.encode(index, mask, facts, from, to));
    await settled;
    for (const first of encoded.elsewhere) {
      if (await this.window.stored(first)) continue;
      throw new LedgerError("IO", "the first copy of a record, sent elsewhere, could not be written; send it again");
    }
    const { duplicates, conflicts, rejected } = encoded;
    // No ids: producers choose them, and an alarm ends in a log that is no place for content.
    if (conflicts > 0)
      this.#alarm({ code: "CONFLICT", message: `records that came again with other content: ${conflicts}` });
    return { accepted: encoded.offsets.length - 1, duplicates, conflicts, rejected };
  }

  /** Segments waiting for export, oldest first: those found at open and those of this process. */
  closedSegments(): readonly ClosedSegment[] {
    return this.#backlog.segments;
  }

  /** Closes the open segment, once what was appended before is written. Rejects with LedgerError IO. */
  async rotate(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    return this.#log.barrier(true);
  }

  /** Deletes a closed segment's file. Only after its rows were counted in the table (rule O1). */
  async removeSegment(segment: ClosedSegment): Promise<void> {
    const stored = this.#backlog.find(segment);
    if (stored === undefined) return;
    const header = { ...segment, openedAt: stored.openedAt };
    await this.#keys.keep(stored.keys, header);
    await this.#backlog.remove(stored);
    for (const { from, to } of stored.keys) this.window.ship(from, to);
    this.#shipped.add(shippedRow(header));
    this.#publish();
    await this.#keys.reserve();
  }

  /** Segments do not reach the table, or do again: it may not be the one that had the others. See `ShippedRows`. */
  doubtTable(): void {
    this.#shipped.doubt();
  }

  stats(): LedgerStats {
    const oldest = this.#backlog.oldestSince ?? this.#log.oldestSince;
    return {
      openRows: this.#log.openRows,
      openBytes: this.#log.openBytes,
      logBytes: this.#logBytes(),
      segments: this.#backlog.count,
      oldestUnexportedMs: oldest === undefined ? 0 : performance.now() - oldest,
    };
  }

  /**
   * Refuses new appends, writes what waits, closes the open segment and, after `open`, the directory. Rejects with LedgerError IO
   * when the disk fails; the lock is released all the same, and what was acknowledged is found by the next open.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#log.barrier(true);
    } finally {
      this.#admission.stop();
      await this.#log.release();
      await this.#keys.close();
      await this.#directory?.close();
    }
  }

  #logBytes(): number {
    return this.#backlog.bytes + this.#log.fileBytes;
  }

  /** Tells the other streams what this one holds. */
  #publish(): void {
    this.#admission.publish(this.#logBytes(), this.#log.pendingBytes);
  }

  /** All of an append that happens in one turn. When it throws, nothing of it is left. */
  #take(encode: () => Encoded): { encoded: Encoded; settled: Promise<void> } {
    try {
      const encoded = encode();
      const insertion = this.window.commit();
      const { learned } = this.window;
      try {
        this.#batch.keepNew(encoded);
        this.#admission.checkLog(this.#batch.rows.length);
        return { encoded, settled: this.#enqueue(encoded, insertion) };
      } catch (error) {
        this.window.forget(insertion, insertion + learned);
        this.#settleWindow();
        throw error;
      }
    } finally {
      this.#batch.release();
    }
  }

  /** What this stream has inserted into the window before this is on disk, or was taken back. */
  #settleWindow(): void {
    // Appends settle in order, so the first in the map is the oldest that waits.
    const [oldest] = this.#insertions;
    this.window.settle(oldest === undefined ? Infinity : oldest[1] + oldest[0].written);
  }

  /** Gives the rows their places and hands them to the log. From here on nothing can fail but the disk. */
  #enqueue(encoded: Encoded, firstInsertion: number): Promise<void> {
    const count = encoded.offsets.length - 1;
    if (count === 0 && !encoded.waits) return Promise.resolve();
    const { rows } = this.#batch;
    const receivedAt = this.#clock.next();
    const firstSequence = this.#nextSequence;
    placeRows(rows.bytes, encoded.offsets, { stream: this.#stream, sequence: firstSequence, receivedAt });
    this.#nextSequence += BigInt(count);
    const { block, done } = this.#batch.take(encoded);
    return new Promise((resolve, reject) => {
      const pending: PendingRows = {
        block,
        insertion: firstInsertion,
        count,
        firstSequence,
        receivedAt,
        since: performance.now(),
        partition: partitionOf(receivedAt),
        rotate: false,
        settle: (error) => {
          done();
          this.#insertions.delete(pending);
          this.#settleWindow();
          this.#publish();
          if (error === undefined) resolve();
          else reject(error);
        },
        written: 0,
      };
      this.#insertions.set(pending, firstInsertion);
      this.#admission.take(block.bytes.length);
      this.#log.enqueue(pending);
      this.#publish();
    });
  }

  /** Sequences and window keys of rows that were not stored are free again. */
  #onRefused(refused: readonly PendingRows[]): void {
    let first: bigint | undefined;
    for (const pending of refused) {
      const insertion = this.#insertions.get(pending);
      if (insertion === undefined || pending.count === 0) continue;
      this.window.forget(insertion + pending.written, insertion + pending.count);
      if (pending.written < pending.count) first ??= pending.firstSequence + BigInt(pending.written);
    }
    if (first !== undefined) this.#nextSequence = first;
  }

  #onClosed(stored: StoredSegment): void {
    this.#backlog.add(stored);
    this.#publish();
    try {
      this.#options.onSegmentClosed(stored.segment);
    } catch (cause) {
      this.#alarm({ code: "CALLBACK_FAILED", message: "onSegmentClosed threw", path: stored.segment.path, cause });
    }
  }

  /** An alarm that cannot be delivered must not stop the log. */
  #alarm(alarm: LedgerAlarm): void {
    try {
      this.#options.onAlarm(alarm);
    } catch (error) {
      process.emitWarning(`onAlarm threw: ${String(error)}`, { type: "LedgerAlarm", code: alarm.code });
    }
  }
}
