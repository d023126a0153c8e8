import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { makeDirectory } from "./io.ts";
import { openWindow } from "./kept-keys.ts";
import { dropKeys } from "./key-log.ts";
import { DirectoryLock } from "./lock.ts";
import { type ResolvedOptions, resolveOptions } from "./options.ts";
import { recoverLog } from "./recovery.ts";
import type { StoredSegment } from "./segment-writer.ts";
import { ShippedRows } from "./shipped-rows.ts";
import type { LedgerAlarm, LedgerOptions } from "./types.ts";
import type { RecordWindow } from "./window.ts";

/** What the streams of one process share; a message can carry it to another thread. */
export interface LedgerShare {
  readonly window: SharedArrayBuffer;
  /** See `SharedBytes`. */
  readonly bytes: SharedArrayBuffer;
  /** See `ShippedRows`. */
  readonly shipped: SharedArrayBuffer;
  /** What earlier processes left, oldest first: of the first stream. */
  readonly recovered: readonly StoredSegment[];
}

/** What opening a directory found there. */
interface Found extends Pick<LedgerDirectory, "window" | "keptKeys" | "shipped"> {
  readonly recovered: readonly StoredSegment[];
}

/** A data directory, once a process: its lock, what earlier processes left in it, and the window of known records. */
export class LedgerDirectory {
  /** Keys of stored records: those that were kept here and those in the log. */
  readonly window: RecordWindow;
  readonly share: LedgerShare;
  /** Of all streams of this process, and at first of the processes before. */
  readonly shipped: ShippedRows;
  /** Earlier processes have kept here which records the table has, all of them: it need not be asked. */
  readonly keptKeys: boolean;
  readonly #options: ResolvedOptions;
  readonly #lock: DirectoryLock | undefined;

  private constructor(options: ResolvedOptions, lock: DirectoryLock | undefined, found: Found) {
    const { window, keptKeys, shipped, recovered } = found;
    this.#options = options;
    this.#lock = lock;
    this.keptKeys = keptKeys;
    this.window = window;
    this.shipped = shipped;
    this.share = { window: window.memory, bytes: SharedBytes.memory(), shipped: shipped.memory, recovered };
  }

  /**
   * Takes the directory's lock, unless the caller has it, and brings what earlier processes left into closed segments.
   * Throws LedgerError: INVALID_ARGUMENT for options, LOCKED, IO, CORRUPT for files of a version that is not known.
   */
  static async open(options: LedgerOptions): Promise<LedgerDirectory> {
    const resolved = resolveOptions(options);
    const { io, dir, windowKeys, locked, onAlarm } = resolved;
    let damaged = false;
    const alarm = (one: LedgerAlarm): void => {
      damaged ||= one.code === "DAMAGED";
      onAlarm(one);
    };
    const logDirectory = path.join(dir, "log");
    let lock: DirectoryLock | undefined;
    try {
      await makeDirectory(io, logDirectory);
      if (!locked) lock = await DirectoryLock.acquire(dir);
      const { window, complete, shipped } = await openWindow(io, dir, windowKeys, alarm);
      const quarantineDirectory = path.join(dir, "quarantine");
      const recovered = await recoverLog({ io, logDirectory, quarantineDirectory, window, alarm });
      const found = { window, keptKeys: complete && !damaged, shipped: new ShippedRows(shipped), recovered };
      return new LedgerDirectory(resolved, lock, found);
    } catch (error) {
      await lock?.release();
      throw LedgerError.fromIo(`open the ledger in ${dir}`, error);
    }
  }

  /**
   * The table has lost records that were counted there: they are told and known no longer, so that a producer that has
   * them can send them again. What is in the log stays known.
   * @returns the first insertion into the window that it still knows, or the next one
   */
  async forgetShipped(message: string): Promise<number> {
    const { io, dir, onAlarm } = this.#options;
    this.shipped.clear();
    const known = await this.window.forgetShipped();
    const failed = await dropKeys(io, dir).then(
      () => ({}),
      (cause: unknown) => ({ cause, path: path.join(dir, "keys") }),
    );
    onAlarm({ code: "TABLE_LOST", message, ...failed });
    return known;
  }

  /** After all its streams are closed. */
  async close(): Promise<void> {
    await this.#lock?.release();
  }
}

/** Sums over all streams of a process: bytes of files that wait for export, bytes of rows that wait for the disk. */
export class SharedBytes {
  readonly #totals: BigInt64Array;
  #log = 0;
  #pending = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#totals = new BigInt64Array(memory);
  }

  static memory(): SharedArrayBuffer {
    return new SharedArrayBuffer(16);
  }

  get log(): number {
    return Number(Atomics.load(this.#totals, 0));
  }

  get pending(): number {
    return Number(Atomics.load(this.#totals, 1));
  }

  /** What this stream has now. */
  publish(log: number, pending: number): void {
    if (log !== this.#log) Atomics.add(this.#totals, 0, BigInt(log - this.#log));
    if (pending !== this.#pending) Atomics.add(this.#totals, 1, BigInt(pending - this.#pending));
    this.#log = log;
    this.#pending = pending;
  }
}
