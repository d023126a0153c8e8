import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import type { FileIo } from "./io.ts";
import type { StoredSegment } from "./segment-writer.ts";
import type { ClosedSegment } from "./types.ts";

/** The closed segments of a stream that wait for export, oldest first. */
export class Backlog {
  readonly #io: FileIo;
  #stored: StoredSegment[];
  #bytes: number;

  constructor(io: FileIo, recovered: readonly StoredSegment[]) {
    this.#io = io;
    this.#stored = [...recovered];
    this.#bytes = recovered.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  }

  get segments(): readonly ClosedSegment[] {
    return this.#stored.map(({ segment }) => segment);
  }

  get count(): number {
    return this.#stored.length;
  }

  /** Of the files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** When the oldest row came, on the monotonic clock. */
  get oldestSince(): number | undefined {
    return this.#stored[0]?.since;
  }

  add(stored: StoredSegment): void {
    this.#stored.push(stored);
    this.#bytes += stored.fileBytes;
  }

  find(segment: ClosedSegment): StoredSegment | undefined {
    return this.#stored.find((one) => one.segment.path === segment.path);
  }

  /** Deletes the file, whether it is there or not. Rejects with LedgerError IO; then the segment still waits. */
  async remove(stored: StoredSegment): Promise<void> {
    const file = stored.segment.path;
    try {
      await this.#io.unlink(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error;
      });
      await this.#io.syncDirectory(path.dirname(file));
    } catch (error) {
      throw LedgerError.fromIo(`remove ${path.basename(file)}`, error);
    }
    this.#stored = this.#stored.filter((one) => one !== stored);
    this.#bytes -= stored.fileBytes;
  }
}
