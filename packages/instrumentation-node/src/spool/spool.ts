import * as fs from "node:fs";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";

import { FrameKind, FrameWriter } from "@otel-audit/ledger/frames";

import type { InSpool, Sink } from "../sink.ts";
import { InstrumentationError, SpoolFullError } from "../errors.ts";
import { ownWork } from "../own-work.ts";
import { property } from "../unknown.ts";
import { ClosedFiles, type SpoolFile } from "./closed-files.ts";
import type { SpoolContents } from "./contents.ts";
import { preparePrivateDirectory } from "./directory.ts";
import { EXTENSION } from "./leftover.ts";
import { MappedWriter } from "./mapped-writer.ts";
import { createFolder, type Owner, touchOwner } from "./owner.ts";
import { Parked } from "./parked.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../pristine.ts";

/** A file is closed at this size, in bytes: it is read and sent as a whole. */
const FILE_BYTES = 4 * 1024 * 1024;
/** A process that writes more records than this is worth the time to load what maps files. */
const MAP_AFTER_RECORDS = 512;
/** So many mapped files are kept to be used again, until the next sign of life. */
const MAX_SPARE = 8;
/** Room that is kept for how actions ended that have begun, each in bytes. */
const OUTCOME_BYTES = 4096;
/** How long the folder may go unwatched before it is looked at again, in milliseconds: a process can be frozen. */
const UNWATCHED_MS = 5 * 60_000;
const NOTHING = new Uint8Array(0);

/**
 * The records of one thread of one process on their way to the collector: frame files in a folder of its own. A record
 * is in the page cache when it is written, so that the process may die; for a loss of power it has to be durable.
 *
 * What begins is written before it runs, how it ended afterwards, as a record that is whole. Folders of processes that
 * died are moved into this one, with their owner, and sent as theirs; what had no end there has the outcome `unknown`.
 */
export class Spool implements Sink {
  readonly #spoolDir: string;
  readonly #owner: Owner;
  readonly #maxBytes: number;
  readonly #onRecord: () => void;
  #folder: string;
  #parked: Parked;
  #epoch = 0;
  #watchedAt = monotonicMs();
  #writer: FrameWriter | MappedWriter | undefined;
  /** Nothing would unmap the files of a thread that is terminated. */
  #mapped = isMainThread;
  readonly #spare: MappedWriter[] = [];
  #fileNumber = 0;
  #sequence = 1;
  /** What has begun and not ended: a list, newest first. */
  #newest: InSpool | undefined;
  #openCount = 0;
  /** In the open file, without intents. */
  #records = 0;
  readonly #closed = new ClosedFiles();
  /** Of what was put aside: it fills the disk like the rest, until a person has looked at it. */
  #rejectedBytes = 0;

  /**
   * @param maxBytes how much may wait; what begins beyond it is refused
   * @param onRecord hears that there is something to send
   * @throws InstrumentationError SPOOL if the directory cannot be used
   */
  constructor(spoolDir: string, owner: Owner, maxBytes: number, onRecord: () => void = () => {}) {
    this.#onRecord = onRecord;
    this.#spoolDir = spoolDir;
    this.#owner = owner;
    this.#maxBytes = maxBytes;
    try {
      preparePrivateDirectory(spoolDir);
      this.#folder = createFolder(spoolDir, owner);
      this.#parked = new Parked(this.#folder);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new InstrumentationError(
        "SPOOL",
        `the spool directory cannot be used (${message}); set OTEL_AUDIT_SPOOL_DIR to a directory that only this user can write to`,
        { cause },
      );
    }
  }

  get folder(): string {
    return this.#folder;
  }

  get nextSequence(): number {
    return this.#sequence;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Bytes that wait, written, claimed and put aside. */
  get bytes(): number {
    return this.#closed.bytes + this.#rejectedBytes + this.#parked.bytes + (this.#writer?.position ?? 0);
  }

  /** Whether there is no record that was not sent. Intents of actions under way may be there. */
  get isEmpty(): boolean {
    return this.#records === 0 && this.#closed.all.length === 0;
  }

  begin(entry: InSpool, bytes: Buffer, length: number, headLength: number, durable: boolean): void {
    this.#checkRoom(length);
    const writer = this.#append(bytes, length, FrameKind.Intent, durable, length - headLength);
    entry.length = length;
    entry.sequence = this.#sequence++;
    entry.epoch = this.#epoch;
    entry.headLength = headLength;
    // Where it stands in memory it can be copied from; a file that is only written to would have to be read.
    if (writer instanceof MappedWriter) entry.at = writer.position - length;
    else entry.head = Uint8Array.from(bytes.subarray(0, headLength));
    this.#openCount++;
    entry.older = this.#newest;
    if (this.#newest !== undefined) this.#newest.newer = entry;
    this.#newest = entry;
  }

  end(entry: InSpool, bytes: Buffer, length: number, durable: boolean): void {
    const writer = this.#end(entry, bytes, length);
    if (durable) this.#sync(writer);
    if (entry.epoch === this.#epoch) this.#close(entry);
    this.#recorded(writer);
  }

  #end(entry: InSpool, bytes: Buffer, length: number): FrameWriter | MappedWriter {
    const left = entry.length - entry.headLength - length;
    if (this.#writer instanceof MappedWriter && entry.head === undefined && (entry.hasRoom ? left > 0 : left === 0)) {
      // The common case, a success of which no more is to be said than there is room for: the intent becomes the record.
      this.#writer.complete(entry.at, entry.at + entry.headLength, entry.at + entry.length, bytes, length);
      return this.#writer;
    }
    const writer = this.#writable(entry.headLength + length);
    if (entry.head === undefined && writer instanceof MappedWriter) {
      writer.appendCopySync(entry.at, entry.headLength, bytes, length);
      return writer;
    }
    const whole = Buffer.concat([entry.head ?? NOTHING, bytes.subarray(0, length)]);
    this.#guard(() => writer.appendSync(whole));
    return writer;
  }

  write(bytes: Buffer, length: number, durable: boolean): void {
    this.#checkRoom(length);
    // Given before the write: whatever fails after it, no two records have one number.
    this.#sequence++;
    let writer: FrameWriter | MappedWriter;
    try {
      writer = this.#append(bytes, length, FrameKind.Data, durable);
    } catch (error) {
      this.#sequence--;
      throw error;
    }
    this.#recorded(writer);
  }

  room(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      // It keeps the process alive: an action waits.
      const timer = setTimeout(resolve, Math.max(0, timeoutMs));
      this.#closed.onRoom(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Closes the open file if there are records in it, so that they can be sent. */
  rotate(): void {
    if (this.#records > 0) this.#closeFile();
  }

  /** Closed files that were not sent, oldest first. */
  closedFiles(): readonly SpoolFile[] {
    return this.#closed.all;
  }

  /** Forgets a file and removes it from disk, after its records were acknowledged. */
  remove(file: SpoolFile, contents: SpoolContents): void {
    this.#keepOpen(file, contents);
    this.forget(file);
    const mapped = file.own?.mapped;
    // One that was closed meanwhile may be looked at by whoever was still sending it.
    if (mapped?.isOpen === true && this.#spare.length < MAX_SPARE) {
      mapped.empty();
      this.#spare.push(mapped);
      return;
    }
    if (mapped?.isOpen === true) {
      mapped.closeSync();
      mapped.unmap();
    }
    fs.rmSync(file.path, { force: true });
  }

  /** Forgets a file that is not there any more. */
  forget(file: SpoolFile): void {
    this.#closed.forget(file);
  }

  /** Puts a file aside that no collector will take, for a person to look at. Returns its new path. */
  quarantine(file: SpoolFile, contents: SpoolContents): string {
    this.#keepOpen(file, contents);
    this.forget(file);
    file.own?.mapped?.closeSync();
    const aside = join(this.#spoolDir, `rejected-${this.#owner.pid}-${this.#nextName()}`);
    fs.renameSync(file.path, aside);
    this.#rejectedBytes += file.bytes;
    return aside;
  }

  /** Takes over what processes that are dead left. Returns the number of files. */
  claimLeftovers(): number {
    return this.#closed.inherit(this.#spoolDir, this.#folder);
  }

  /** Tells processes that cannot see this one that it lives. */
  touch(): void {
    this.#watchedAt = monotonicMs();
    this.#dropSpare();
    try {
      touchOwner(this.#folder);
    } catch (error) {
      if (property(error, "code") !== "ENOENT") throw error;
      this.#moveOut();
    }
  }

  /** Gives back what was claimed and not sent: whoever looks next finds it where it was. */
  release(): void {
    this.#closed.release(this.#spoolDir, this.#folder);
  }

  /** Closes all files, and removes the folder if nothing is left in it. What is under way stays, without an end. */
  close(): void {
    const nothing = this.isEmpty && this.#openCount === 0;
    this.#closeFile();
    this.#closed.close();
    this.#dropSpare();
    this.#parked.close();
    if (nothing) fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  #keepOpen(file: SpoolFile, contents: SpoolContents): void {
    if (file.own === undefined) return;
    const open = new Set<number>();
    for (let entry = this.#newest; entry !== undefined; entry = entry.older) open.add(entry.sequence);
    this.#parked.keep(contents, open);
  }

  #dropSpare(): void {
    for (const spare of this.#spare.splice(0)) {
      spare.closeSync();
      spare.unmap();
      fs.rmSync(spare.path, { force: true });
    }
  }

  /** What has begun may end, whatever else waits. */
  #checkRoom(length: number): void {
    const reserved = (this.#openCount + 1) * OUTCOME_BYTES;
    if (this.bytes + length + reserved > this.#maxBytes) {
      throw new SpoolFullError(this.#maxBytes);
    }
  }

  /** Takes an entry out of the list of what is under way. */
  #close(entry: InSpool): void {
    this.#openCount--;
    if (entry.newer === undefined) this.#newest = entry.older;
    else entry.newer.older = entry.older;
    if (entry.older !== undefined) entry.older.newer = entry.newer;
    entry.newer = undefined;
    entry.older = undefined;
  }

  #append(bytes: Buffer, length: number, kind: number, durable: boolean, openBytes = 0): FrameWriter | MappedWriter {
    if (monotonicMs() - this.#watchedAt > UNWATCHED_MS) ownWork(() => this.touch());
    const writer = this.#writable(length);
    if (writer instanceof MappedWriter) writer.appendSync(bytes, length, kind, openBytes);
    else this.#guard(() => writer.appendSync(bytes.subarray(0, length), kind));
    if (durable) this.#sync(writer);
    return writer;
  }

  #sync(writer: FrameWriter | MappedWriter): void {
    this.#guard(() => writer.syncSync());
  }

  /** A file that failed once is left as it is; what it holds is sent. */
  #guard(write: () => void): void {
    try {
      write();
    } catch (error) {
      ownWork(() => this.#closeFile());
      throw error;
    }
  }

  #recorded(writer: FrameWriter | MappedWriter): void {
    if (this.#records++ === 0) this.#onRecord();
    if (writer instanceof FrameWriter && writer.position >= FILE_BYTES) ownWork(() => this.#closeFile());
  }

  #writable(length: number): FrameWriter | MappedWriter {
    const writer = this.#writer;
    if (writer instanceof MappedWriter && !writer.fits(length)) ownWork(() => this.#closeFile());
    else if (writer instanceof FrameWriter && this.#mapped && this.#sequence > MAP_AFTER_RECORDS) {
      ownWork(() => this.#closeFile());
    } else if (writer !== undefined) return writer;
    return (this.#writer = ownWork(() => this.#create(length)));
  }

  #create(length: number): FrameWriter | MappedWriter {
    try {
      const spare = this.#spare.at(-1)?.fits(length) === true ? this.#spare.pop() : undefined;
      // Named now: files are inherited in the order of their names.
      spare?.rename(join(this.#folder, this.#nextName()));
      return spare ?? this.#createFile(length);
    } catch (error) {
      if (property(error, "code") !== "ENOENT") throw error;
      this.#moveOut();
      return this.#createFile(length);
    }
  }

  #createFile(length: number): FrameWriter | MappedWriter {
    if (this.#mapped && this.#sequence > MAP_AFTER_RECORDS) {
      const mapped = MappedWriter.create(
        join(this.#folder, this.#nextName()),
        Math.max(Math.min(FILE_BYTES, this.#maxBytes), length * 2),
      );
      if (mapped !== undefined) return mapped;
      this.#mapped = false;
    }
    return FrameWriter.createSync(join(this.#folder, this.#nextName()));
  }

  /**
   * The folder is gone: cleaned up, removed by somebody who wants no records, or inherited by a process that took this
   * one for dead. What comes from now on is kept in a new one.
   */
  #moveOut(): void {
    this.#epoch++;
    this.#closeFile();
    this.#newest = undefined;
    this.#openCount = 0;
    this.#dropSpare();
    this.#parked.close();
    preparePrivateDirectory(this.#spoolDir);
    this.#folder = createFolder(this.#spoolDir, this.#owner);
    this.#parked = new Parked(this.#folder);
  }

  #closeFile(): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    // Heads of what goes on stand in this file, which will be sent and emptied.
    if (writer instanceof MappedWriter) {
      for (let entry = this.#newest; entry !== undefined; entry = entry.older) {
        entry.head ??= writer.copy(entry.at, entry.headLength);
      }
    }
    this.#closed.add(writer, this.#owner, this.#records);
    this.#writer = undefined;
    this.#records = 0;
  }

  #nextName(): string {
    return `${String(++this.#fileNumber).padStart(8, "0")}${EXTENSION}`;
  }
}
