/**
 * - `OVERLOADED`: more bytes wait for the disk than `maxPendingBytes` allows. Retry later.
 * - `LOG_FULL`: the files not yet exported reached `maxLogBytes`, or the disk has less than `minFreeBytes`. Retry when the exporter caught up.
 * - `IO`: the file system failed (full, read-only, broken). Retry: the ledger starts a new file by itself.
 * - `CLOSED`: the ledger was closed. Retry elsewhere or after a restart.
 * - `LOCKED`: another process holds the directory.
 * - `CORRUPT`: a file does not hold what its frames, counts and hashes say.
 * - `INVALID_ARGUMENT`: an option or argument outside its range.
 */
export type LedgerErrorCode = "OVERLOADED" | "LOG_FULL" | "IO" | "CLOSED" | "LOCKED" | "CORRUPT" | "INVALID_ARGUMENT";

const RETRYABLE: ReadonlySet<LedgerErrorCode> = new Set(["OVERLOADED", "LOG_FULL", "IO", "CLOSED"]);

/** The one error class of this package. */
export class LedgerError extends Error {
  readonly code: LedgerErrorCode;
  /** The same call may succeed later; nothing of it was acknowledged. */
  readonly retryable: boolean;

  constructor(code: LedgerErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "LedgerError";
    this.code = code;
    this.retryable = RETRYABLE.has(code);
  }

  /** Wraps what the file system threw; a LedgerError stays as it is. */
  static fromIo(action: string, cause: unknown): LedgerError {
    if (cause instanceof LedgerError) return cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new LedgerError("IO", `${action}: ${reason}`, { cause });
  }
}
