import { randomUUID } from "node:crypto";
import * as path from "node:path";
import { SPAN_MALFORMED, type SpanIndex } from "@otel-audit/otlp";
import { ByteBuffer } from "./byte-buffer.ts";
import { LedgerError } from "./errors.ts";
import { makeDirectory } from "./io.ts";
import { DirectoryLock } from "./lock.ts";
import { type ResolvedOptions, resolveOptions } from "./options.ts";
import { recoverLog } from "./recovery.ts";
import { uuidBytes } from "./row-decode.ts";
import { RowEncoder, addRowFlag, placeRow } from "./row-encoder.ts";
import { ROW_OFFSET, RowFlag } from "./row-format.ts";
import { partitionOf } from "./segment-file.ts";
import { type PendingRows, SegmentLog } from "./segment-log.ts";
import type { RowBlock, StoredSegment } from "./segment-writer.ts";
import type { AppendResult, ClosedSegment, CollectorFacts, LedgerAlarm, LedgerOptions, LedgerStats } from "./types.ts";
import { RecordWindow, Seen } from "./window.ts";

const FIRST_BYTES = 64 * 1024;
/** A larger row buffer is given back after use. */
const KEEP_BYTES = 8 * 1024 * 1024;
const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;

/** What became of the spans of one append, before anything is on disk. */
interface Encoded {
  readonly offsets: number[];
  duplicates: number;
  conflicts: number;
  /** A duplicate's first copy is not synced yet. */
  waits: boolean;
  readonly rejected: { span: number; reason: string }[];
}

/**
 * The durable log of audit records of one data directory: spans in, rows on disk, closed segments out. One process at a
 * time; every open starts a new stream with sequences from 1.
 */
export class Ledger {
  /** UUID of this process's stream. */
  readonly streamId: string;
  /** Keys of stored records; refill it from the table after `open` and before the first append. */
  readonly window: RecordWindow;
  readonly #options: ResolvedOptions;
  readonly #lock: DirectoryLock;
  readonly #log: SegmentLog;
  readonly #stream: Uint8Array;
  readonly #encoder = new RowEncoder();
  #closed: StoredSegment[];
  #closedBytes: number;
  #rows = new ByteBuffer(FIRST_BYTES);
  #nextSequence = 1n;
  #lastReceivedAt = 0n;
  #closing: Promise<void> | undefined;
  /** Which insertions into the window belong to which waiting append. */
  readonly #insertions = new Map<PendingRows, number>();

  private constructor(options: ResolvedOptions, lock: DirectoryLock, window: RecordWindow, recovered: StoredSegment[]) {
    this.streamId = randomUUID();
    this.window = window;
    this.#options = options;
    this.#lock = lock;
    this.#closed = recovered;
    this.#closedBytes = recovered.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    this.#stream = uuidBytes(this.streamId);
    this.#log = new SegmentLog({
      io: options.io,
      directory: path.join(options.dir, "log", this.streamId),
      quarantineDirectory: path.join(options.dir, "quarantine"),
      streamId: this.streamId,
      maxSegmentRows: options.maxSegmentRows,
      maxSegmentBytes: options.maxSegmentBytes,
      maxSegmentAgeMs: options.maxSegmentAgeMs,
      backlog: () => this.#closed.length,
      onClosed: (stored) => this.#onClosed(stored),
      onAlarm: (alarm) => this.#alarm(alarm),
      onRefused: (pending) => this.#onRefused(pending),
    });
  }

  /**
   * Takes the directory's lock, brings what earlier processes left into closed segments and starts a new stream.
   * Throws LedgerError: INVALID_ARGUMENT for options, LOCKED, IO, CORRUPT for files of a version that is not known.
   */
  static async open(options: LedgerOptions): Promise<Ledger> {
    const resolved = resolveOptions(options);
    const { io, dir, windowKeys } = resolved;
    const window = new RecordWindow(windowKeys);
    const logDirectory = path.join(dir, "log");
    let lock: DirectoryLock | undefined;
    try {
      await makeDirectory(io, logDirectory);
      lock = await DirectoryLock.acquire(dir);
      const quarantineDirectory = path.join(dir, "quarantine");
      const alarm = (one: LedgerAlarm): void => resolved.onAlarm(one);
      const recovered = await recoverLog({ io, logDirectory, quarantineDirectory, window, alarm });
      const ledger = new Ledger(resolved, lock, window, recovered);
      await makeDirectory(io, path.join(logDirectory, ledger.streamId));
      return ledger;
    } catch (error) {
      await lock?.release();
      throw LedgerError.fromIo(`open the ledger in ${dir}`, error);
    }
  }

  /**
   * Stores the spans of a request whose flags have a bit of `mask` and not SPAN_MALFORMED.
   *
   * Resolves only when all their rows are synced to disk, and the first copies of all duplicates too. The index and its
   * bytes are not used any more once the call has returned its promise. Rejects with LedgerError; then nothing may be
   * acknowledged to the producer, and a retry of the same spans neither loses nor doubles any.
   */
  async append(index: SpanIndex, mask: number, facts: CollectorFacts): Promise<AppendResult> {
    this.#admit(index.bytes.length);
    const { encoded, settled } = this.#take(index, mask, facts);
    await settled;
    const { duplicates, conflicts, rejected } = encoded;
    return { accepted: encoded.offsets.length - 1, duplicates, conflicts, rejected };
  }

  /** Segments waiting for export, oldest first: those found at open and those of this process. */
  closedSegments(): readonly ClosedSegment[] {
    return this.#closed.map(({ segment }) => segment);
  }

  /** Closes the open segment, once what was appended before is written. Rejects with LedgerError IO. */
  async rotate(): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    return this.#log.barrier(true);
  }

  /** Deletes a closed segment's file. Only after its rows were counted in the table (rule O1). */
  async removeSegment(segment: ClosedSegment): Promise<void> {
    const { io } = this.#options;
    const stored = this.#closed.find((one) => one.segment.path === segment.path);
    if (stored === undefined) return;
    try {
      await io.unlink(segment.path).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
      });
      await io.syncDirectory(path.dirname(segment.path));
    } catch (error) {
      throw LedgerError.fromIo(`remove ${path.basename(segment.path)}`, error);
    }
    this.#closed = this.#closed.filter((one) => one !== stored);
    this.#closedBytes -= stored.fileBytes;
  }

  stats(): LedgerStats {
    const oldest = this.#closed[0]?.openedAt ?? this.#log.oldestReceivedAt;
    const age = oldest === undefined ? 0 : Number((this.#options.now() - oldest) / 1_000_000n);
    return {
      openRows: this.#log.openRows,
      openBytes: this.#log.openBytes,
      logBytes: this.#logBytes(),
      segments: this.#closed.length,
      oldestUnexportedMs: Math.max(0, age),
    };
  }

  /**
   * Refuses new appends, writes what waits, closes the open segment and releases the lock. Rejects with LedgerError IO
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
      await this.#log.release();
      await this.#lock.release();
    }
  }

  #admit(requestBytes: number): void {
    if (this.#closing !== undefined) throw new LedgerError("CLOSED", "the ledger is closed");
    const { maxPendingBytes } = this.#options;
    const pending = this.#log.pendingBytes;
    // A request larger than the bound passes when nothing waits, or it never would.
    if (pending > 0 && pending + requestBytes > maxPendingBytes) {
      throw new LedgerError(
        "OVERLOADED",
        `${pending} bytes wait for the disk; with this request it would be more than maxPendingBytes (${maxPendingBytes})`,
      );
    }
    this.#admitLog(0);
  }

  #admitLog(bytes: number): void {
    const { maxLogBytes } = this.#options;
    const used = this.#logBytes();
    if (used + bytes > maxLogBytes) {
      throw new LedgerError("LOG_FULL", `${used} bytes wait for export; maxLogBytes is ${maxLogBytes}`);
    }
  }

  #logBytes(): number {
    return this.#closedBytes + this.#log.fileBytes;
  }

  /** All of an append that happens in one turn. When it throws, nothing of it is left. */
  #take(index: SpanIndex, mask: number, facts: CollectorFacts): { encoded: Encoded; settled: Promise<void> } {
    const firstInsertion = this.window.inserted;
    this.#rows.clear();
    try {
      const encoded = this.#encode(index, mask, facts);
      this.#admitLog(this.#rows.length);
      return { encoded, settled: this.#enqueue(encoded, firstInsertion) };
    } catch (error) {
      this.window.forget(firstInsertion, this.window.inserted);
      throw error;
    } finally {
      if (this.#rows.bytes.length > KEEP_BYTES) this.#rows = new ByteBuffer(FIRST_BYTES);
    }
  }

  /** Encodes into `#rows`; rows of duplicates are dropped again. */
  #encode(index: SpanIndex, mask: number, facts: CollectorFacts): Encoded {
    const result: Encoded = { offsets: [0], duplicates: 0, conflicts: 0, waits: false, rejected: [] };
    this.#encoder.begin(facts);
    for (let span = 0; span < index.count; span++) {
      const flags = index.flags[span]!;
      if ((flags & mask) === 0 || (flags & SPAN_MALFORMED) !== 0) continue;
      let refused: string | undefined;
      try {
        refused = this.#encoder.encode(this.#rows, index, span);
      } catch (error) {
        refused = error instanceof Error ? error.message : String(error);
      }
      // Whatever is wrong with one span, the others of its request are not refused for it.
      if (refused === undefined) this.#checkSeen(result);
      else result.rejected.push({ span, reason: refused });
    }
    return result;
  }

  #checkSeen(result: Encoded): void {
    const rows = this.#rows;
    const encoder = this.#encoder;
    const rowStart = result.offsets.at(-1)!;
    const seen = this.window.observe(
      encoder.principal,
      rows.bytes,
      encoder.recordIdStart,
      encoder.recordIdEnd,
      rows.bytes,
      rowStart + ROW_OFFSET.contentHash,
    );
    if (seen === Seen.Duplicate) {
      rows.length = rowStart;
      result.duplicates++;
      result.waits ||= this.#isInFlight(this.window.hit);
      return;
    }
    if (seen === Seen.Conflict) {
      const id = rows.bytes.toString("utf8", encoder.recordIdStart, encoder.recordIdEnd);
      addRowFlag(rows.bytes, rowStart, RowFlag.Conflict);
      result.conflicts++;
      this.#alarm({ code: "CONFLICT", message: `record ${JSON.stringify(id)} came again with other content` });
    }
    result.offsets.push(rows.length);
  }

  #isInFlight(insertion: number): boolean {
    // Appends settle in order, so the first in the map is the oldest that waits.
    for (const [oldest, first] of this.#insertions) return insertion >= first + oldest.written;
    return false;
  }

  /** Gives the rows their places and hands them to the log. From here on nothing can fail but the disk. */
  #enqueue(encoded: Encoded, firstInsertion: number): Promise<void> {
    const count = encoded.offsets.length - 1;
    if (count === 0 && !encoded.waits) return Promise.resolve();
    const rows = this.#rows;
    const receivedAt = this.#receivedAt();
    const firstSequence = this.#nextSequence;
    for (let i = 0; i < count; i++) {
      const sequence = this.#nextSequence++;
      placeRow(rows.bytes, encoded.offsets[i]!, { stream: this.#stream, sequence, receivedAt });
    }
    const block: RowBlock = {
      bytes: new Uint8Array(rows.bytes.subarray(0, rows.length)),
      offsets: Uint32Array.from(encoded.offsets),
    };
    return new Promise((resolve, reject) => {
      const pending: PendingRows = {
        block,
        count,
        firstSequence,
        receivedAt,
        partition: partitionOf(receivedAt),
        rotate: false,
        settle: (error) => {
          this.#insertions.delete(pending);
          if (error === undefined) resolve();
          else reject(error);
        },
        written: 0,
      };
      this.#insertions.set(pending, firstInsertion);
      this.#log.enqueue(pending);
    });
  }

  /** Never runs backwards within a stream: after a jump back of the clock it stands until the clock caught up. */
  #receivedAt(): bigint {
    const now = this.#options.now();
    const bounded = now < 0n ? 0n : now > MAX_INT64 ? MAX_INT64 : now;
    if (bounded > this.#lastReceivedAt) this.#lastReceivedAt = bounded;
    return this.#lastReceivedAt;
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
    this.#closed.push(stored);
    this.#closedBytes += stored.fileBytes;
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
