import { ClickHouseError } from "../errors.ts";
import type { Source } from "./source.ts";

export function truncated(at: number): ClickHouseError {
  return new ClickHouseError("BAD_ROWS", `RowBinary: a value at byte ${at} runs over the end`);
}

/** Of a length or count: 28 bits are more than any segment can hold, and all sums with positions stay small integers. */
const MAX_VARINT_BYTES = 4;

/** Position behind the varint at `at`. */
export function varintEnd({ bytes }: Source, at: number): number {
  const limit = Math.min(at + MAX_VARINT_BYTES, bytes.length);
  for (let i = at; i < limit; i++) if (bytes[i]! < 128) return i + 1;
  throw truncated(at);
}

/** Value of the varint in [at, end). */
export function varintValue({ bytes }: Source, at: number, end: number): number {
  let value = 0;
  for (let i = end - 1; i >= at; i--) value = (value << 7) | (bytes[i]! & 127);
  return value;
}

/** Position behind the string at `at`, its length prefix included. */
export function skipString(source: Source, at: number): number {
  const { bytes } = source;
  let end = at;
  if (at < bytes.length && bytes[at]! < 128) {
    end = at + 1 + bytes[at]!;
  } else {
    const body = varintEnd(source, at);
    end = body + varintValue(source, at, body);
  }
  if (end > bytes.length) throw truncated(at);
  return end;
}
