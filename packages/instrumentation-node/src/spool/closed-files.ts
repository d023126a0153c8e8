import * as fs from "node:fs";
import { join, relative, sep } from "node:path";

import { type FrameWriter, walkFrames } from "@otel-audit/ledger/frames";

import { SpoolContents } from "./contents.ts";
import { Leftover, readIfThere } from "./leftover.ts";
import { MappedWriter } from "./mapped-writer.ts";
import { mayBeAlive, type Owner, readOwner } from "./owner.ts";

/** A closed file of records, to be sent and then removed. */
export interface SpoolFile {
  readonly path: string;
  readonly owner: Owner;
  /** How many records it holds; undefined for what another process wrote. */
  readonly records: number | undefined;
  readonly bytes: number;
  /** Written by this thread; its memory, if it has one, can be used again. */
  readonly own: { readonly mapped: MappedWriter | undefined } | undefined;
  /** What it has to send; undefined when somebody else removed it. */
  read(): SpoolContents | undefined;
}

/** So many closed files stay mapped until they are sent. */
const MAX_MAPPED = 8;

/** Files that wait to be sent: those of this thread, and what it inherited. */
export class ClosedFiles {
  #files: SpoolFile[] = [];
  #bytes = 0;
  /** Who waits for one of them to go. */
  readonly #waiting: (() => void)[] = [];

  /** Oldest first. */
  get all(): readonly SpoolFile[] {
    return this.#files;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a file of this thread, with so many records. */
  add(writer: FrameWriter | MappedWriter, owner: Owner, records: number): void {
    const { path, position: bytes } = writer;
    const mapped = this.#files.reduce((count, file) => (file.own?.mapped === undefined ? count : count + 1), 0);
    if (writer instanceof MappedWriter && mapped < MAX_MAPPED) {
      const read = (): SpoolContents => new SpoolContents(walkFrames(writer.written));
      this.#take({ path, owner, records, bytes, own: { mapped: writer }, read });
      return;
    }
    writer.closeSync();
    // What waits for long is read from the disk when its turn comes: memory is for what is written.
    if (writer instanceof MappedWriter) writer.unmap();
    this.#take({ path, owner, records, bytes, own: { mapped: undefined }, read: () => readIfThere(path) });
  }

  /** Forgets a file. */
  forget(file: SpoolFile): void {
    const at = this.#files.indexOf(file);
    if (at === -1) return;
    this.#files.splice(at, 1);
    this.#bytes -= file.bytes;
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Hears when the next file was forgotten. */
  onRoom(go: () => void): void {
    this.#waiting.push(go);
  }

  /** Moves what processes that are dead left in a spool directory into `folder`. Returns the number of files. */
  inherit(spoolDir: string, folder: string): number {
    const before = this.#files.length;
    for (const entry of fs.readdirSync(spoolDir, { withFileTypes: true })) {
      const left = join(spoolDir, entry.name);
      if (!entry.isDirectory() || entry.name.startsWith(".") || left === folder) continue;
      const owner = readOwner(left);
      if (owner === undefined || mayBeAlive(owner, left)) continue;
      const claimed = join(folder, entry.name);
      try {
        // Atomic: of two processes that see the same leftover one wins. Inside our folder it shares our fate.
        fs.renameSync(left, claimed);
      } catch {
        continue;
      }
      this.#collect(claimed, folder);
    }
    return this.#files.length - before;
  }

  /** Gives back what was inherited and not sent: whoever looks next finds it where it was. */
  release(spoolDir: string, folder: string): void {
    const folders = new Set(this.#files.map((file) => relative(folder, file.path).split(sep, 1)[0] ?? ""));
    this.#files = [];
    this.#bytes = 0;
    for (const name of folders) fs.renameSync(join(folder, name), join(spoolDir, name));
  }

  /** Nothing is written any more. Files are not unmapped, for one of them may be being sent. */
  close(): void {
    for (const file of this.#files) file.own?.mapped?.closeSync();
    this.#files = this.#files.map((file) => (file.own?.mapped === undefined ? file : onDisk(file)));
  }

  #take(file: SpoolFile): void {
    this.#files.push(file);
    this.#bytes += file.bytes;
  }

  /**
   * Takes over what lies in a dead process's folder, and what that one had taken over. Those folders come to lie beside it:
   * one in the other, processes that keep dying would make a path longer than any system takes.
   */
  #collect(left: string, folder: string): void {
    const owner = readOwner(left);
    for (const entry of fs.readdirSync(left, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const beside = join(folder, entry.name);
      fs.renameSync(join(left, entry.name), beside);
      this.#collect(beside, folder);
    }
    if (owner === undefined) return;
    const leftover = new Leftover(left, owner);
    if (leftover.paths.length === 0) fs.rmSync(left, { recursive: true, force: true });
    for (const path of leftover.paths) {
      const bytes = fs.statSync(path).size;
      this.#take({ path, owner, records: undefined, bytes, own: undefined, read: () => leftover.read(path) });
    }
  }
}

/** A file whose memory is gone. */
function onDisk(file: SpoolFile): SpoolFile {
  return { ...file, own: { mapped: undefined }, read: () => readIfThere(file.path) };
}
