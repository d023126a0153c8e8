import { type FailureReason, serverReason } from "./failure-reason.ts";

/**
 * What went wrong, as a closed set:
 *
 * - `INVALID_OPTION`: an option is outside its bounds; the message names it.
 * - `CONNECTION`: no answer from the server (refused, reset, timed out). Retryable.
 * - `OVERLOADED`: the server answered that it cannot now (too many parts or queries, memory, read-only replica). Retryable.
 * - `AUTHENTICATION`: the credential was refused.
 * - `SCHEMA`: the table or a column is missing or has another type.
 * - `SERVER`: any other ClickHouse exception.
 * - `NOT_STORED`: the server answered success, yet the table does not hold the rows. Retryable.
 * - `PARTIAL_SEGMENT`: the table holds some, or too many, of a segment's rows. Needs a person.
 * - `BAD_ROWS`: bytes that are not RowBinary of the named columns.
 * - `WORKER`: the transposing worker thread failed. Retryable.
 * - `CLOSED`: used after `close()`.
 * - `ENGINE_UNAVAILABLE`: chDB is not installed or not made for this platform.
 * - `ENGINE_START`: the embedded engine did not start (port, data directory, lock).
 * - `ENGINE_EXIT`: the embedded engine's process ended by itself.
 */
export type ClickHouseErrorCode =
  | "INVALID_OPTION"
  | "CONNECTION"
  | "OVERLOADED"
  | "AUTHENTICATION"
  | "SCHEMA"
  | "SERVER"
  | "NOT_STORED"
  | "PARTIAL_SEGMENT"
  | "BAD_ROWS"
  | "WORKER"
  | "CLOSED"
  | "ENGINE_UNAVAILABLE"
  | "ENGINE_START"
  | "ENGINE_EXIT";

const RETRYABLE: ReadonlySet<ClickHouseErrorCode> = new Set(["CONNECTION", "OVERLOADED", "NOT_STORED", "WORKER"]);

/** What a code means for the way to the table, unless the server says it more closely. */
const REASONS: Readonly<Record<ClickHouseErrorCode, FailureReason>> = {
  INVALID_OPTION: "internal",
  CONNECTION: "unreachable",
  OVERLOADED: "busy",
  AUTHENTICATION: "authentication",
  SCHEMA: "schema",
  SERVER: "server",
  NOT_STORED: "not_stored",
  PARTIAL_SEGMENT: "partial_segment",
  BAD_ROWS: "bad_segment",
  WORKER: "internal",
  CLOSED: "internal",
  ENGINE_UNAVAILABLE: "engine_down",
  ENGINE_START: "engine_down",
  ENGINE_EXIT: "engine_down",
};

/** The only error class this package throws. */
export class ClickHouseError extends Error {
  override readonly name = "ClickHouseError";
  readonly code: ClickHouseErrorCode;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  /** ClickHouse's own exception number, where the server gave one. */
  readonly serverCode: number | undefined;
  /** What is wrong with the way to the table, for those who count or report it. */
  readonly reason: FailureReason;

  constructor(
    code: ClickHouseErrorCode,
    message: string,
    options: { cause?: unknown; serverCode?: number | undefined; reason?: FailureReason } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = RETRYABLE.has(code);
    this.serverCode = options.serverCode;
    this.reason = options.reason ?? reasonOf(code, options.serverCode, message);
  }
}

function reasonOf(code: ClickHouseErrorCode, serverCode: number | undefined, message: string): FailureReason {
  return (serverCode === undefined ? undefined : serverReason(serverCode, message)) ?? REASONS[code];
}
