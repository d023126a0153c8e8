import { ftruncateSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

import type * as koffiTypes from "koffi";

/** A file's bytes as memory: what is stored there is in the page cache at once, and outlives the process. */
export interface Mapping {
  readonly bytes: Buffer;
  /** `bytes` must not be touched afterwards. */
  unmap(): void;
}

type Koffi = typeof koffiTypes;
type Native = (...args: unknown[]) => unknown;

interface System {
  /** Room for a whole file; an error number, 0 for none. */
  readonly allocate: ((fd: number, length: number) => unknown) | undefined;
  readonly map: (fd: number, length: number) => Mapping | undefined;
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** What mmap returns for an error. */
const MAP_FAILED = 2n ** 64n - 1n;
const ZEROS_BYTES = 256 * 1024;

let system: System | undefined;
let tried = false;

/**
 * Maps a new file of `length` bytes, all of them allocated: a page without room on the disk would be a SIGBUS.
 *
 * The first call loads koffi, an optional dependency, for Node has no mmap of its own: some 10 ms and 6 MiB, which pay
 * where many records are written.
 *
 * @returns undefined where files cannot be mapped; the file is empty then
 * @throws what the file system throws: ENOSPC above all
 */
export function mapNewFile(fd: number, length: number): Mapping | undefined {
  if (!tried) {
    tried = true;
    system = load();
  }
  if (system === undefined) return undefined;
  if (system.allocate?.(fd, length) !== 0) writeZeros(fd, length);
  const mapping = system.map(fd, length);
  if (mapping === undefined) ftruncateSync(fd, 0);
  return mapping;
}

/** Where room cannot be asked for, and to hear of a full disk as an error of Node. */
function writeZeros(fd: number, length: number): void {
  const zeros = Buffer.alloc(Math.min(length, ZEROS_BYTES));
  for (let at = 0; at < length;) at += writeSync(fd, zeros, 0, Math.min(zeros.length, length - at), at);
}

function load(): System | undefined {
  if (process.platform !== "linux" && process.platform !== "darwin") return undefined;
  try {
    const koffi: Koffi = createRequire(import.meta.url)("koffi");
    const libc = koffi.load(null);
    const mmap: Native = libc.func("void *mmap(void *address, size_t length, int prot, int flags, int fd, int64_t at)");
    const munmap: Native = libc.func("int munmap(void *address, size_t length)");
    const allocate: Native | undefined =
      process.platform === "linux" ? libc.func("int posix_fallocate(int fd, int64_t at, int64_t length)") : undefined;
    return {
      allocate: allocate && ((fd, length) => allocate(fd, 0, length)),
      map: (fd, length) => {
        const address = mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0);
        if (address === null || address === MAP_FAILED) return undefined;
        return { bytes: Buffer.from(koffi.view(address, length)), unmap: () => munmap(address, length) };
      },
    };
  } catch {
    // Not installed, no binary for this system, or add-ons are not permitted: records are written by system calls.
    return undefined;
  }
}
