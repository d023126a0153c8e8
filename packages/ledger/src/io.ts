import * as fs from "node:fs";
import * as path from "node:path";

/**
 * The file operations that the log depends on for durability. A seam, so that tests can make a sync fail: no real file
 * system does that on request.
 */
export interface FileIo {
  /** Creates a file exclusively and returns its descriptor. */
  readonly create: (file: string) => Promise<number>;
  /** Opens an existing file for reading and writing. */
  readonly openExisting: (file: string) => Promise<number>;
  /** Returns the number of bytes written, which may be less than `length`. */
  readonly write: (fd: number, bytes: Uint8Array, offset: number, length: number, position: number) => Promise<number>;
  readonly truncate: (fd: number, length: number) => Promise<void>;
  readonly datasync: (fd: number) => Promise<void>;
  readonly close: (fd: number) => Promise<void>;
  readonly read: (file: string) => Promise<Uint8Array>;
  readonly rename: (from: string, to: string) => Promise<void>;
  readonly unlink: (file: string) => Promise<void>;
  /** Makes created, renamed and removed names in a directory durable. */
  readonly syncDirectory: (directory: string) => Promise<void>;
  /** Bytes that this user may still write to the file system, and its size; 0 where it does not know. */
  readonly space: (directory: string) => Promise<{ readonly free: number; readonly total: number }>;
}

const FILE_MODE = 0o600;

export const nodeFileIo: FileIo = {
  create: (file) => open(file, "wx"),
  openExisting: (file) => open(file, "r+"),
  write: (fd, bytes, offset, length, position) =>
    new Promise((resolve, reject) => {
      fs.write(fd, bytes, offset, length, position, (error, written) => (error ? reject(error) : resolve(written)));
    }),
  truncate: (fd, length) => call((done) => fs.ftruncate(fd, length, done)),
  datasync: (fd) => call((done) => fs.fdatasync(fd, done)),
  close: (fd) => call((done) => fs.close(fd, done)),
  read: (file) => fs.promises.readFile(file),
  rename: (from, to) => fs.promises.rename(from, to),
  unlink: (file) => fs.promises.unlink(file),
  syncDirectory: async (directory) => {
    const handle = await fs.promises.open(directory, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  space: async (directory) => {
    const { bavail, blocks, bsize } = await fs.promises.statfs(directory);
    return { free: bavail * bsize, total: blocks * bsize };
  },
};

/**
 * Creates a directory and makes the names of all that it had to create durable. Not by Node's recursive mkdir, which never
 * returns below /proc.
 */
export async function makeDirectory(io: FileIo, directory: string): Promise<void> {
  const exists = await fs.promises.stat(directory).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
  if (exists) return;
  const parent = path.dirname(directory);
  await makeDirectory(io, parent);
  await fs.promises.mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await io.syncDirectory(parent);
}

function open(file: string, flags: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(file, flags === "wx" ? "wx+" : flags, FILE_MODE, (error, fd) => (error ? reject(error) : resolve(fd)));
  });
}

function call(run: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    run((error) => (error ? reject(error) : resolve()));
  });
}
