import { SharedBytes } from "./directory.ts";
import { LedgerError } from "./errors.ts";
import { FreeSpace } from "./free-space.ts";
import type { ResolvedOptions } from "./options.ts";

/** Refuses appends at the bounds of the options: of bytes of all streams of the process together, and of the disk. */
export class Admission {
  readonly #options: ResolvedOptions;
  readonly #shared: SharedBytes;
  readonly #space: FreeSpace;

  /** @param bytes that `SharedBytes` made for all streams */
  constructor(options: ResolvedOptions, bytes: SharedArrayBuffer) {
    this.#options = options;
    this.#shared = new SharedBytes(bytes);
    this.#space = new FreeSpace({
      io: options.io,
      directory: options.dir,
      minFreeBytes: options.minFreeBytes,
      name: options.nameOf("minFreeBytes"),
      unwritten: () => this.#shared.pending,
      onChange: (low) => options.onLowSpace(low),
    });
  }

  start(): Promise<void> {
    return this.#space.start();
  }

  stop(): void {
    this.#space.stop();
  }

  /** Before a request is encoded. Throws LedgerError OVERLOADED or LOG_FULL. */
  checkRequest(bytes: number): void {
    const { maxPendingBytes, nameOf } = this.#options;
    const { pending } = this.#shared;
    // A request larger than the bound passes when nothing waits, or it never would.
    if (pending > 0 && pending + bytes > maxPendingBytes) {
      throw new LedgerError(
        "OVERLOADED",
        `${pending} bytes wait for the disk; with this request it would be more than ${nameOf("maxPendingBytes")} (${maxPendingBytes})`,
      );
    }
    this.checkLog(0);
    this.#space.check();
  }

  /** Whether so many more bytes of rows may wait for export. Throws LedgerError LOG_FULL. */
  checkLog(bytes: number): void {
    const { maxLogBytes, nameOf } = this.#options;
    const used = this.#shared.log;
    if (used + bytes > maxLogBytes) {
      const wanted = bytes === 0 ? "" : `, with this request ${used + bytes}`;
      throw new LedgerError(
        "LOG_FULL",
        `${used} bytes wait for export${wanted}; ${nameOf("maxLogBytes")} is ${maxLogBytes}`,
      );
    }
  }

  /** So many bytes of rows are on their way to the disk. */
  take(bytes: number): void {
    this.#space.take(bytes);
  }

  /** Tells the other streams what this one holds. */
  publish(logBytes: number, pendingBytes: number): void {
    this.#shared.publish(logBytes, pendingBytes);
  }
}
