/** Why bytes or values were refused. The set is closed: a new reason is a new code. */
export type OtlpErrorCode =
  | "TRUNCATED"
  | "INVALID_TAG"
  | "INVALID_WIRE_TYPE"
  | "INVALID_VARINT"
  | "REPEATED_FIELD"
  | "TOO_DEEP"
  | "TOO_MANY_SPANS"
  | "INVALID_JSON"
  | "INVALID_FIELD";

/** The only error this package throws on foreign bytes. */
export class OtlpError extends Error {
  override readonly name = "OtlpError";
  readonly code: OtlpErrorCode;
  /** Byte offset into the input near the damage; 0 where the input was a JavaScript value. */
  readonly offset: number;

  constructor(code: OtlpErrorCode, message: string, offset: number, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.offset = offset;
  }
}

// Inside the package damage is a negative number, not an exception: a request may hold a million broken spans,
// and a stack trace for each would be a way to stop the collector.
export const TRUNCATED = -1;
export const INVALID_TAG = -2;
export const INVALID_WIRE_TYPE = -3;
export const INVALID_VARINT = -4;
export const REPEATED_FIELD = -5;
export const TOO_DEEP = -6;
export const INVALID_FIELD = -7;

const REASONS: readonly (readonly [OtlpErrorCode, string])[] = [
  ["TRUNCATED", "ends before its declared length"],
  ["INVALID_TAG", "has an invalid field number or an unmatched group"],
  ["INVALID_WIRE_TYPE", "has a field of the wrong wire type"],
  ["INVALID_VARINT", "has a varint that is too long or too large"],
  ["REPEATED_FIELD", "repeats a field that may occur once"],
  ["TOO_DEEP", "nests deeper than the limit"],
  ["INVALID_FIELD", "has a field with an invalid value"],
];

/** Turns an internal failure number into the public error. `what` names the message that is damaged. */
export function failure(code: number, what: string, offset: number): OtlpError {
  const reason = REASONS[-code - 1];
  if (reason === undefined) throw new RangeError(`no such failure: ${code}`);
  return new OtlpError(reason[0], `${what} at byte ${offset} ${reason[1]}`, offset);
}
