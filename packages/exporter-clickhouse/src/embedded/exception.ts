import { ClickHouseError } from "../errors.ts";

/** ClickHouse's exceptions that this server raises itself, and what HTTP status they have. */
const EXCEPTIONS = {
  UNSUPPORTED_METHOD: { code: 1, status: 400 },
  BAD_ARGUMENTS: { code: 36, status: 400 },
  NOT_IMPLEMENTED: { code: 48, status: 501 },
  SYNTAX_ERROR: { code: 62, status: 400 },
  UNKNOWN_FORMAT: { code: 73, status: 404 },
  UNKNOWN_DATABASE: { code: 81, status: 404 },
  READONLY: { code: 164, status: 403 },
  QUERY_IS_TOO_LARGE: { code: 161, status: 413 },
  REQUIRED_PASSWORD: { code: 194, status: 401 },
  TOO_MANY_SIMULTANEOUS_QUERIES: { code: 202, status: 503 },
  QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: { code: 216, status: 409 },
  ABORTED: { code: 236, status: 503 },
  TOO_LARGE_STRING_SIZE: { code: 131, status: 413 },
  CANNOT_DECOMPRESS: { code: 271, status: 400 },
  QUERY_WAS_CANCELLED: { code: 394, status: 499 },
  INCORRECT_QUERY: { code: 80, status: 400 },
  ACCESS_DENIED: { code: 497, status: 403 },
  AUTHENTICATION_FAILED: { code: 516, status: 403 },
  UNKNOWN_COMPRESSION_METHOD: { code: 89, status: 415 },
  NETWORK_ERROR: { code: 210, status: 400 },
  UNKNOWN_EXCEPTION: { code: 1002, status: 500 },
} as const;

type ExceptionName = keyof typeof EXCEPTIONS;

/** Statuses of the exceptions that come out of the engine, as ClickHouse's own HTTP handler gives them. */
const STATUS: ReadonlyMap<number, number> = new Map([
  ...Object.values(EXCEPTIONS).map(({ code, status }): [number, number] => [code, status]),
  ...[6, 26, 27, 32, 33, 38, 41, 43, 53, 70, 72, 117, 130, 158, 167, 168, 306, 307, 349, 396, 456, 457].map(
    (code): [number, number] => [code, 400],
  ),
  ...[16, 46, 47, 50, 60, 115].map((code): [number, number] => [code, 404]),
  [159, 408],
]);

/** An exception of this server in ClickHouse's own words. */
export function exception(name: ExceptionName, text: string, cause?: unknown): ClickHouseError {
  const { code } = EXCEPTIONS[name];
  const sentence = text.endsWith(".") ? text : `${text}.`;
  return new ClickHouseError("SERVER", `Code: ${code}. DB::Exception: ${sentence} (${name})`, {
    cause,
    serverCode: code,
  });
}

/** Whatever was thrown, as a ClickHouse exception. */
export function toException(error: unknown): ClickHouseError {
  if (error instanceof ClickHouseError && error.serverCode !== undefined) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = /^Code: (\d+)\./.exec(message)?.[1];
  if (code === undefined) return exception("UNKNOWN_EXCEPTION", message, error);
  return new ClickHouseError("SERVER", clean(message), { cause: error, serverCode: Number(code) });
}

/** The HTTP status that goes with an exception. */
export function httpStatus(error: ClickHouseError): number {
  return STATUS.get(error.serverCode ?? 0) ?? 500;
}

/** chDB wraps an exception in itself: `Code: 1. DB::Exception: Code: 1. DB::Exception: text. (NAME) (version x). (NAME)`. */
function clean(message: string): string {
  return message
    .trim()
    .replace(/^(Code: \d+\. DB::Exception: )\1+/, "$1")
    .replace(/(\([A-Z0-9_]+\)) (\(version [^)]*\))(?:\. \1(?: \2)?)+$/, "$1 $2");
}
