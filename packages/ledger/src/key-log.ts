import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { FrameKind } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";
import type { FileIo } from "./io.ts";
import { type SegmentHeader, encodeHeader } from "./segment-file.ts";
import type { ShippedRow } from "./shipped-rows.ts";
import { ENTRY_BYTES, type RecordWindow } from "./window.ts";

/** Keys of a segment that is in the table. */
interface SegmentKeys {
  readonly ranges: readonly KeyRange[];
  readonly segment: SegmentHeader;
}

/** Insertions into the window, `to` exclusive. */
export interface KeyRange {
  readonly from: number;
  readonly to: number;
}

export const ENDING = ".keys";
/** Of a name that says: the table knows records which these files do not; one was damaged, or a disk took no keys. */
export const INCOMPLETE = ".incomplete";
/** Room that is kept for what comes next. More than the keys of a largest segment. */
const RESERVE_BYTES = 5 * 1024 * 1024;

/**
 * The keys of records whose log files are gone because the table has them, in `<dir>/keys/`: so a process knows them again
 * when it starts while ClickHouse is away. Frame files; the first frame is the secret of the window's fingerprints, each other
 * one the window's entries of a segment, or the header of the segment whose entries stand before it. A full disk can only be emptied by removing log files, so the file has room in
 * advance; what cannot be written all the same is tried again, and a file `*.incomplete` makes later processes
 * ask the table.
 */
export class KeyLog {
  readonly #io: FileIo;
  readonly #directory: string;
  readonly #window: RecordWindow;
  readonly #maxKeys: number;
  #writer: FrameWriter | undefined;
  /** The name of its file is on disk. */
  #named = false;
  #written = 0;
  #previous: string | undefined;
  /** Says that there were keys that could not be written, while there are. */
  #marker: string | undefined;
  /** Not on disk yet. */
  readonly #waiting: SegmentKeys[] = [];
  /** One write at a time. */
  #turn: Promise<void> = Promise.resolve();

  constructor(io: FileIo, dir: string, window: RecordWindow, maxKeys: number) {
    this.#io = io;
    this.#directory = keysDirectory(dir);
    this.#window = window;
    this.#maxKeys = maxKeys;
  }

  /**
   * Resolves when these entries are on disk, or could not be written: then they are tried again with the next ones, and the
   * caller goes on, or a full disk could never be emptied.
   */
  keep(ranges: readonly KeyRange[], segment: SegmentHeader): Promise<void> {
    this.#waiting.push({ ranges, segment });
    return this.#keepAll();
  }

  #keepAll(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#keepWaiting());
    return this.#turn;
  }

  async #keepWaiting(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const { length } = this.#waiting;
    try {
      await this.#write(this.#waiting.slice());
      this.#waiting.splice(0, length);
      if (this.#marker !== undefined) await unlinkIfThere(this.#io, this.#marker);
      this.#marker = undefined;
    } catch {
      // Of a file whose sync failed nothing is known (L2); the next one begins anew.
      await this.#abandon();
      // The caller removes the only other place that has them.
      this.#marker ??= await markIncomplete(this.#io, this.#directory);
    }
  }

  /** Something was removed: writes what waits for room, and makes some for the next keys. */
  reserve(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#keepWaiting()).then(() => this.#reserve());
    return this.#turn;
  }

  async #reserve(): Promise<void> {
    try {
      this.#writer ??= await createFile(this.#io, this.#directory, this.#window);
      await this.#writer.reserve(Math.min(RESERVE_BYTES, this.#maxKeys * ENTRY_BYTES));
    } catch {
      // The next segment that goes makes some.
    }
  }

  async close(): Promise<void> {
    await this.#keepAll();
    await this.#abandon();
  }

  async #abandon(): Promise<void> {
    await this.#writer?.close().catch(() => undefined);
    this.#writer = undefined;
    this.#named = false;
  }

  async #write(segments: readonly SegmentKeys[]): Promise<void> {
    this.#writer ??= await createFile(this.#io, this.#directory, this.#window);
    const writer = this.#writer;
    for (const { from, to } of segments.flatMap(({ ranges }) => ranges)) {
      const entries = this.#window.entries(from, to);
      if (entries.length > 0) writer.add(entries);
      this.#written += entries.length / ENTRY_BYTES;
    }
    addHeader(writer, segments.at(-1)!.segment);
    await writer.flush();
    await writer.sync();
    if (!this.#named) await this.#io.syncDirectory(this.#directory);
    this.#named = true;
    if (this.#written < this.#maxKeys) return;
    // This file alone fills a window: what is older is not needed any more.
    await this.#abandon();
    const old = this.#previous;
    this.#previous = writer.path;
    this.#written = 0;
    if (old !== undefined) await unlinkIfThere(this.#io, old);
  }
}

/**
 * Later processes know none of the keys that were kept until now, and ask the table. A file that is being written is
 * written to its end; the one after it counts again.
 */
export async function dropKeys(io: FileIo, dir: string): Promise<void> {
  const directory = keysDirectory(dir);
  await markIncomplete(io, directory);
  for (const name of await fs.promises.readdir(directory)) {
    if (name.endsWith(ENDING)) await unlinkIfThere(io, path.join(directory, name));
  }
  await io.syncDirectory(directory);
}

/** Another thread may have dropped it. */
async function unlinkIfThere(io: FileIo, file: string): Promise<void> {
  await io.unlink(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

/** Undefined: the disk takes not even an empty file. */
export async function markIncomplete(io: FileIo, directory: string): Promise<string | undefined> {
  const marker = path.join(directory, randomUUID() + INCOMPLETE);
  try {
    await io.close(await io.create(marker));
    await io.syncDirectory(directory);
    return marker;
  } catch {
    return undefined;
  }
}

export function addHeader(writer: FrameWriter, segment: SegmentHeader): void {
  const header = encodeHeader(segment);
  writer.add(header, 0, header.length, FrameKind.SegmentHeader);
}

export function shippedRow({ streamId, firstSequence, openedAt }: SegmentHeader): ShippedRow {
  return { streamId, sequence: firstSequence, receivedAt: openedAt };
}

/** Neither the file nor its name is synced. */
export async function createFile(io: FileIo, directory: string, window: RecordWindow): Promise<FrameWriter> {
  const writer = await FrameWriter.create(path.join(directory, randomUUID() + ENDING), io);
  try {
    writer.add(window.secret);
    await writer.flush();
    return writer;
  } catch (error) {
    await writer.close().catch(() => undefined);
    await io.unlink(writer.path).catch(() => undefined);
    throw LedgerError.fromIo("keep the keys of records", error);
  }
}

export function keysDirectory(dir: string): string {
  return path.join(dir, "keys");
}
