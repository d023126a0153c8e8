import { LedgerError } from "./errors.ts";
import type { FileIo } from "./io.ts";

const MIB = 1024 * 1024;
/** How often the file system is asked, as others write to the same disk: an embedded engine, other workers. */
const INTERVAL_MS = 1_000;
/** After so many bytes of our own it is asked at once: in a second a fast disk takes more than a whole reserve. */
const INTERVAL_BYTES = 4 * MIB;

interface FreeSpaceOptions {
  readonly io: FileIo;
  /** Any on the disk in question. */
  readonly directory: string;
  /** The reserve; undefined: 256 MiB, or a twentieth of a disk where that is less. */
  readonly minFreeBytes: number | undefined;
  /** What its setting is called. */
  readonly name: string;
  /** Bytes that all streams have taken and the file system does not know of. */
  readonly unwritten: () => number;
  /** Why appends are refused from now on; undefined: they are not. */
  readonly onChange: (low: string | undefined) => void;
}

/**
 * What is free on the log's disk, so that the log leaves a reserve. On a disk that is full nothing can be inserted by an engine
 * that shares it, nothing removed from the log, and so nothing becomes free: with a reserve, what is acknowledged still goes its way.
 */
export class FreeSpace {
  readonly #options: FreeSpaceOptions;
  #bound = 0;
  #free = Number.POSITIVE_INFINITY;
  /** Since the file system was asked. */
  #taken = 0;
  #looking = false;
  #low = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: FreeSpaceOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#options.minFreeBytes === 0) return;
    await this.#look();
    this.#timer = setInterval(() => void this.#look(), INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Bytes on their way to the disk, until the file system is asked again. */
  take(bytes: number): void {
    this.#free -= bytes;
    this.#taken += bytes;
    if (this.#taken >= INTERVAL_BYTES && this.#timer) void this.#look();
  }

  /** Throws LedgerError LOG_FULL below the reserve. */
  check(): void {
    if (this.#free < this.#bound) throw new LedgerError("LOG_FULL", this.#text());
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    const { io, directory, minFreeBytes, unwritten } = this.#options;
    this.#looking = true;
    this.#taken = 0;
    try {
      const { free, total } = await io.space(directory);
      // Some file systems do not know.
      if (total === 0) return;
      this.#free = free - unwritten();
      this.#bound = minFreeBytes ?? Math.min(256 * MIB, Math.floor(total / 20));
    } catch {
      // It tells nothing then, and what does not fit is refused when it is written.
      this.#free = Number.POSITIVE_INFINITY;
    } finally {
      this.#looking = false;
    }
    const low = this.#free < this.#bound;
    if (low === this.#low) return;
    this.#low = low;
    this.#options.onChange(low ? this.#text() : undefined);
  }

  #text(): string {
    return `${Math.max(0, this.#free)} bytes are free on the log's disk; ${this.#bound} (${this.#options.name}) are kept to bring what waits into the table`;
  }
}
