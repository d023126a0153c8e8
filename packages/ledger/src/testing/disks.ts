import * as fs from "node:fs";
import * as path from "node:path";
import { mountSmallDisk, tempDir } from "../../../../test/support/index.ts";
import { type FileIo, nodeFileIo } from "../io.ts";

export interface SmallDisk {
  readonly dir: string;
  readonly io: FileIo;
  readonly resize: (bytes: number) => void;
  readonly remove: () => void;
}

/** A file system of its own where this process may mount one, else the real one that answers as if it were small. */
export function smallDisk(bytes: number): SmallDisk {
  const mounted = mountSmallDisk(String(bytes));
  if (mounted) {
    const { dir, resize, remove } = mounted;
    return { dir: path.join(dir, "data"), io: nodeFileIo, resize: (to) => resize(String(to)), remove };
  }
  const dir = tempDir("disk");
  let total = bytes;
  const free = (): number =>
    fs
      .readdirSync(dir, { recursive: true, withFileTypes: true })
      .reduce((left, entry) => left - fs.statSync(path.join(entry.parentPath, entry.name)).size, total);
  const io: FileIo = {
    ...nodeFileIo,
    space: async () => ({ free: free(), total }),
    write: async (fd, from, offset, length, position) => {
      const inPlace = Math.max(0, fs.fstatSync(fd).size - position);
      const some = Math.min(length, Math.max(0, free()) + inPlace);
      if (some === 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
      return nodeFileIo.write(fd, from, offset, some, position);
    },
  };
  return { dir, io, resize: (to) => (total = to), remove: () => undefined };
}

const gates = new Set<() => void>();

/** After a test: one that failed before it opened its gate must not keep what is to be closed waiting. */
export function openGates(): void {
  for (const open of gates) open();
  gates.clear();
}

interface FaultyIo extends FileIo {
  fail: boolean;
  failOnce: boolean;
  /** Fails all syncs after this many more. */
  failAfter: number | undefined;
  /** Files that were synced again after their sync had failed. */
  syncedAfterFailure(): string[];
}

interface GatedIo extends FaultyIo {
  /** Resolves when a sync of a data file has started and waits. */
  reached(): Promise<void>;
  open(): void;
}

/** The real file system, whose fdatasync fails when it is told to. */
export function faultyIo(): FaultyIo {
  const names = new Map<number, string>();
  const failed = new Set<string>();
  const again: string[] = [];
  const io: FaultyIo = {
    ...nodeFileIo,
    fail: false,
    failOnce: false,
    failAfter: undefined,
    syncedAfterFailure: () => again,
    create: async (file) => {
      const fd = await nodeFileIo.create(file);
      names.set(fd, file);
      return fd;
    },
    datasync: async (fd) => {
      const name = names.get(fd) ?? "";
      if (failed.has(name)) again.push(name);
      if (io.failAfter !== undefined && io.failAfter-- <= 0) io.fail = true;
      if (io.fail || io.failOnce) {
        io.failOnce = false;
        failed.add(name);
        throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
      }
      await nodeFileIo.datasync(fd);
    },
  };
  return io;
}

/** The same, and no fdatasync returns until it is opened. */
export function gatedIo(): GatedIo {
  const gate = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  gates.add(() => gate.resolve());
  const io = faultyIo();
  const { datasync } = io;
  return Object.assign(io, {
    reached: () => arrived.promise,
    open: () => gate.resolve(),
    datasync: async (fd: number) => {
      arrived.resolve();
      await gate.promise;
      await datasync(fd);
    },
  });
}
