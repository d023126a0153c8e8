import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { FrameKind, MAX_FRAME_PAYLOAD } from "./frame.ts";
import { scanFrames } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { type FileIo, makeDirectory } from "./io.ts";
import type { LedgerAlarm } from "./types.ts";
import { ENTRY_BYTES, RecordWindow } from "./window.ts";

/** Insertions into the window, `to` exclusive. */
export interface KeyRange {
  readonly from: number;
  readonly to: number;
}

const ENDING = ".keys";
/** Of a name that says: the table knows records which these files do not; one was damaged, or a disk took no keys. */
const INCOMPLETE = ".incomplete";
const SECRET_BYTES = 8;
/** Room that is kept for what comes next. More than the keys of a largest segment. */
const RESERVE_BYTES = 5 * 1024 * 1024;
/** More files than these become one at the next start. */
const MAX_FILES = 16;

/**
 * The keys of records whose log files are gone because the table has them, in `<dir>/keys/`: so a process knows them again
 * when it starts while ClickHouse is away. Frame files; the first frame is the secret of the window's fingerprints, each other
 * one the window's entries of a segment. A full disk can only be emptied by removing log files, so the file has room in
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
  readonly #waiting: KeyRange[] = [];
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
  keep(ranges: readonly KeyRange[]): Promise<void> {
    this.#waiting.push(...ranges);
    this.#turn = this.#turn.then(() => this.#keepWaiting());
    return this.#turn;
  }

  async #keepWaiting(): Promise<void> {
    if (this.#waiting.length === 0) return;
    const { length } = this.#waiting;
    try {
      await this.#write(this.#waiting.slice());
      this.#waiting.splice(0, length);
      if (this.#marker !== undefined) await this.#io.unlink(this.#marker);
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
    await this.keep([]);
    await this.#abandon();
  }

  async #abandon(): Promise<void> {
    await this.#writer?.close().catch(() => undefined);
    this.#writer = undefined;
    this.#named = false;
  }

  async #write(ranges: readonly KeyRange[]): Promise<void> {
    this.#writer ??= await createFile(this.#io, this.#directory, this.#window);
    const writer = this.#writer;
    for (const { from, to } of ranges) {
      const entries = this.#window.entries(from, to);
      if (entries.length > 0) writer.add(entries);
      this.#written += entries.length / ENTRY_BYTES;
    }
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
    if (old !== undefined) await this.#io.unlink(old);
  }
}

/**
 * A window that knows what earlier processes kept. Damaged files are told and left out.
 * @returns `complete`: these are all keys of the table, as far as a window goes
 */
export async function openWindow(
  io: FileIo,
  dir: string,
  maxKeys: number,
  alarm: (alarm: LedgerAlarm) => void,
): Promise<{ window: RecordWindow; complete: boolean }> {
  const directory = keysDirectory(dir);
  await makeDirectory(io, directory);
  const files = await readFiles(io, directory, alarm);
  const secret = files.at(-1)?.secret;
  const window = new RecordWindow(maxKeys, 0, secret);
  const useless: string[] = [];
  let newer = files.reduce((sum, { keys }) => sum + keys, 0);
  for (const file of files) {
    newer -= file.keys;
    // The newest files fill the window without it, or its fingerprints are of another secret.
    if (newer >= maxKeys || file.keys === 0 || secret === undefined || !file.secret.equals(secret)) {
      useless.push(file.path);
    } else for (const entries of file.entries) window.restore(entries);
  }
  const used = files.filter((file) => !useless.includes(file.path));
  const complete = await isComplete(io, directory, files, window.size === maxKeys);
  // A damaged file is told once.
  if (used.length > MAX_FILES || used.some(({ damaged }) => damaged)) {
    await merge(io, directory, window);
    useless.push(...used.map((file) => file.path));
  }
  for (const file of useless) await io.unlink(file);
  return { window, complete: complete && window.size > 0 };
}

/** Once the window is full of kept keys, those that were lost are older than what it holds. */
async function isComplete(io: FileIo, directory: string, files: readonly KeyFile[], full: boolean): Promise<boolean> {
  if (files.some(({ damaged }) => damaged)) {
    await markIncomplete(io, directory);
    return false;
  }
  const markers = (await fs.promises.readdir(directory)).filter((name) => name.endsWith(INCOMPLETE));
  if (full) for (const name of markers) await io.unlink(path.join(directory, name));
  return full || markers.length === 0;
}

/** Undefined: the disk takes not even an empty file. */
async function markIncomplete(io: FileIo, directory: string): Promise<string | undefined> {
  const marker = path.join(directory, randomUUID() + INCOMPLETE);
  try {
    await io.close(await io.create(marker));
    await io.syncDirectory(directory);
    return marker;
  } catch {
    return undefined;
  }
}

interface KeyFile {
  readonly path: string;
  readonly secret: Buffer;
  readonly entries: readonly Uint8Array[];
  readonly keys: number;
  readonly damaged: boolean;
}

/** Oldest first, as far as the clock can be believed: which keys are forgotten first hangs on it, and no more. */
async function readFiles(io: FileIo, directory: string, alarm: (alarm: LedgerAlarm) => void): Promise<KeyFile[]> {
  const found: { file: KeyFile; changed: number }[] = [];
  for (const name of await fs.promises.readdir(directory)) {
    if (!name.endsWith(ENDING)) continue;
    const file = path.join(directory, name);
    const scan = scanFrames(await io.read(file));
    const frames = Array.from({ length: scan.count }, (_, i) => ({
      kind: scan.kind[i],
      bytes: scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]),
    })).filter(({ kind, bytes }) => kind === FrameKind.Data && bytes.length > 0);
    const [secret, ...rest] = frames.map(({ bytes }) => bytes);
    const damaged = scan.damage.some(({ kind }) => kind === "damaged");
    if (damaged) {
      const message = `keys/${name}: bytes that had been synced are damaged; some repeated records may be stored again`;
      alarm({ code: "DAMAGED", message, path: file });
    }
    // Without its first frame the fingerprints say nothing.
    const readable = secret?.length === SECRET_BYTES && rest.every(({ length }) => length % ENTRY_BYTES === 0);
    const entries = readable ? rest : [];
    const keys = entries.reduce((sum, { length }) => sum + length / ENTRY_BYTES, 0);
    const { mtimeMs } = await fs.promises.stat(file);
    const known = { path: file, secret: Buffer.from(readable ? secret : []), entries, keys, damaged };
    found.push({ file: known, changed: keys === 0 ? 0 : mtimeMs });
  }
  return found.toSorted((a, b) => a.changed - b.changed).map(({ file }) => file);
}

/** All that the window knows as one file. */
async function merge(io: FileIo, directory: string, window: RecordWindow): Promise<void> {
  const writer = await createFile(io, directory, window);
  const step = Math.floor(MAX_FRAME_PAYLOAD / ENTRY_BYTES);
  try {
    for (let from = 0; from < window.inserted; from += step) {
      writer.add(window.entries(from, Math.min(from + step, window.inserted)));
      await writer.flush();
    }
    await writer.sync();
    await io.syncDirectory(directory);
  } finally {
    await writer.close();
  }
}

/** Neither the file nor its name is synced. */
async function createFile(io: FileIo, directory: string, window: RecordWindow): Promise<FrameWriter> {
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

function keysDirectory(dir: string): string {
  return path.join(dir, "keys");
}
