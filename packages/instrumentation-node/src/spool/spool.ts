import * as fs from "node:fs";
import { basename, join, relative, sep } from "node:path";

import { FrameWriter } from "@otel-audit/ledger/frames";

import { InstrumentationError } from "../errors.ts";
import { ownWork } from "../own-work.ts";
import { property } from "../unknown.ts";
import { createFolder, mayBeAlive, type Owner, readOwner, touchOwner } from "./owner.ts";

/** A closed file of records, to be sent and then removed. */
export interface SpoolFile {
  readonly path: string;
  readonly owner: Owner;
  /** How many records it holds; undefined for what another process wrote. */
  readonly records: number | undefined;
}

/** Of files of records. */
export const EXTENSION = ".frames";
/** What `check` wants to have room for: most records are shorter, in bytes. */
const MIN_ROOM = 4096;
/** A file is closed at this size, in bytes: it is read and sent as a whole. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/**
 * The records of one thread of one process on their way to the collector: frame files in a folder of its own. A record
 * is in the page cache when `append` returns, so that the process may die; a loss of power is outside (guarantee 6).
 *
 * Folders of processes that died are moved into this one, with their owner, and sent as theirs.
 */
export class Spool {
  readonly folder: string;
  readonly #spoolDir: string;
  readonly #owner: Owner;
  readonly #maxBytes: number;
  #writer: FrameWriter | undefined;
  #number = 0;
  /** In the open file. */
  #records = 0;
  #closed: SpoolFile[] = [];
  /** Bytes of closed files, the claimed ones included. */
  #closedBytes = 0;

  /**
   * @param maxBytes how much may wait; `append` refuses more
   * @throws InstrumentationError SPOOL if the directory cannot be used
   */
  constructor(spoolDir: string, owner: Owner, maxBytes: number) {
    this.#spoolDir = spoolDir;
    this.#owner = owner;
    this.#maxBytes = maxBytes;
    try {
      preparePrivateDirectory(spoolDir);
      this.folder = createFolder(spoolDir, owner);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new InstrumentationError(
        "SPOOL",
        `the spool directory cannot be used (${message}); set OTEL_AUDIT_SPOOL_DIR to a directory that only this user can write to`,
        { cause },
      );
    }
  }

  /** Bytes that wait, written and claimed. */
  get bytes(): number {
    return this.#closedBytes + (this.#writer?.position ?? 0);
  }

  /** Whether there is anything that was not sent. */
  get isEmpty(): boolean {
    return this.#writer === undefined && this.#closed.length === 0;
  }

  /** Writes one record. @throws what the file system throws; an Error when the spool is full. */
  append(record: Uint8Array): void {
    const writer = this.#writable(record.length);
    try {
      writer.appendSync(record);
      this.#records++;
    } catch (error) {
      // A file that failed once is left as it is; what it holds is sent.
      this.rotate();
      throw error;
    }
    if (writer.position >= MAX_FILE_BYTES) this.rotate();
  }

  /** Throws what `append` would, as far as that can be known beforehand. */
  check(): void {
    this.#writable(MIN_ROOM);
  }

  #writable(room: number): FrameWriter {
    if (this.bytes + room > this.#maxBytes) throw new Error(`the spool is full (${this.#maxBytes} bytes)`);
    return (this.#writer ??= ownWork(() => this.#create()));
  }

  #create(): FrameWriter {
    try {
      return FrameWriter.createSync(join(this.folder, this.#nextName()));
    } catch (error) {
      if (property(error, "code") !== "ENOENT") throw error;
      // Somebody cleaned up the temporary directory, or wants no records: what comes from now on is kept.
      preparePrivateDirectory(this.#spoolDir);
      createFolder(this.#spoolDir, this.#owner, basename(this.folder));
      return FrameWriter.createSync(join(this.folder, this.#nextName()));
    }
  }

  /** Closes the open file, so that it can be sent. */
  rotate(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    this.#writer = undefined;
    this.#closed.push({ path: writer.path, owner: this.#owner, records: this.#records });
    this.#records = 0;
    this.#closedBytes += writer.position;
    writer.closeSync();
  }

  /** Closed files that were not sent, oldest first. */
  closedFiles(): readonly SpoolFile[] {
    return this.#closed;
  }

  /** Forgets a file and removes it from disk, after its records were acknowledged. */
  remove(file: SpoolFile): void {
    this.forget(file);
    fs.rmSync(file.path, { force: true });
  }

  /** Forgets a file that is not there any more. */
  forget(file: SpoolFile): void {
    const at = this.#closed.indexOf(file);
    if (at === -1) return;
    this.#closed.splice(at, 1);
    try {
      this.#closedBytes = this.#closed.length === 0 ? 0 : this.#closedBytes - fs.statSync(file.path).size;
    } catch {
      // Removed by somebody else: the sum is corrected when the list is empty.
    }
  }

  /** Puts a file aside that no collector will take, for a person to look at. Returns its new path. */
  quarantine(file: SpoolFile): string {
    this.forget(file);
    const aside = join(this.#spoolDir, `rejected-${this.#owner.pid}-${this.#nextName()}`);
    fs.renameSync(file.path, aside);
    return aside;
  }

  /** Takes over what processes that are dead left. Returns the number of files. */
  claimLeftovers(): number {
    const before = this.#closed.length;
    for (const entry of fs.readdirSync(this.#spoolDir, { withFileTypes: true })) {
      const folder = join(this.#spoolDir, entry.name);
      if (!entry.isDirectory() || entry.name.startsWith(".") || folder === this.folder) continue;
      const owner = readOwner(folder);
      if (owner === undefined || mayBeAlive(owner, folder)) continue;
      const claimed = join(this.folder, entry.name);
      try {
        // Atomic: of two processes that see the same leftover one wins. Inside our folder it shares our fate.
        fs.renameSync(folder, claimed);
      } catch {
        continue;
      }
      this.#collect(claimed);
    }
    return this.#closed.length - before;
  }

  /** Tells processes that cannot see this one that it lives. */
  touch(): void {
    touchOwner(this.folder);
  }

  /** Gives back what was claimed and not sent: whoever looks next finds it where it was. */
  release(): void {
    const folders = new Set(this.#closed.map((file) => relative(this.folder, file.path).split(sep, 1)[0] ?? ""));
    this.#closed = [];
    this.#closedBytes = 0;
    for (const name of folders) fs.renameSync(join(this.folder, name), join(this.#spoolDir, name));
  }

  /** Closes the open file, and removes the folder if nothing is left in it. */
  close(): void {
    this.rotate();
    if (this.isEmpty) fs.rmSync(this.folder, { recursive: true, force: true });
  }

  #collect(folder: string): void {
    const owner = readOwner(folder);
    const entries = fs.readdirSync(folder, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) this.#collect(path);
      else if (entry.name.endsWith(EXTENSION) && owner !== undefined) {
        this.#closed.push({ path, owner, records: undefined });
        this.#closedBytes += fs.statSync(path).size;
      }
    }
  }

  #nextName(): string {
    return `${String(++this.#number).padStart(8, "0")}${EXTENSION}`;
  }
}

/**
 * A directory that only this user can enter. In a shared temporary directory somebody else could have made it first,
 * and would read the records, or plant some.
 */
function preparePrivateDirectory(directory: string): void {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const stat = fs.lstatSync(directory);
  if (!stat.isDirectory()) throw new Error(`${directory} is not a directory`);
  const user = process.getuid?.();
  if (user === undefined) return;
  if (stat.uid !== user) throw new Error(`${directory} belongs to user ${stat.uid}, not to ${user}`);
  if ((stat.mode & 0o077) !== 0) fs.chmodSync(directory, 0o700);
}
