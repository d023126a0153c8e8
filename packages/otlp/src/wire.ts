import { INVALID_TAG, INVALID_VARINT, INVALID_WIRE_TYPE, TOO_DEEP, TRUNCATED } from "./errors.ts";

export const VARINT = 0;
export const I64 = 1;
export const LEN = 2;
const GROUP_START = 3;
export const GROUP_END = 4;
export const I32 = 5;

/** Groups nest at most this deep; OTLP has none, so they only occur as unknown fields. */
export const MAX_GROUP_DEPTH = 30;

/** The position after the varint at `pos`, or a failure. A varint has at most 64 bits, so at most 10 bytes. */
export function varintEnd(bytes: Uint8Array, pos: number, end: number): number {
  const limit = end - pos > 10 ? pos + 10 : end;
  for (let i = pos; i < limit; i++) {
    const byte = bytes[i]!;
    if (byte < 0x80) return i === pos + 9 && byte > 1 ? INVALID_VARINT : i + 1;
  }
  return limit === pos + 10 ? INVALID_VARINT : TRUNCATED;
}

/**
 * The position after the varint at `pos` that must fit 32 bits (a tag or a length), or a failure. Longer encodings are
 * refused even when padded with zeros: C++ and Java refuse them, and parsers that truncate them would disagree
 * with those that do not about where a field ends.
 */
export function varint32End(bytes: Uint8Array, pos: number, end: number): number {
  const limit = end - pos > 5 ? pos + 5 : end;
  for (let i = pos; i < limit; i++) {
    const byte = bytes[i]!;
    if (byte < 0x80) return i === pos + 4 && byte > 0x0f ? INVALID_VARINT : i + 1;
  }
  return limit === pos + 5 ? INVALID_VARINT : TRUNCATED;
}

/** The low 32 bits, unsigned, of the well-formed varint in [pos, end). */
export function uint32At(bytes: Uint8Array, pos: number, end: number): number {
  let value = 0;
  const limit = end - pos > 5 ? pos + 5 : end;
  for (let i = pos, shift = 0; i < limit; i++, shift += 7) value |= (bytes[i]! & 0x7f) << shift;
  return value >>> 0;
}

/** The well-formed varint in [pos, end) as an unsigned 64-bit integer. */
export function uint64At(bytes: Uint8Array, pos: number, end: number): bigint {
  if (end - pos <= 4) return BigInt(uint32At(bytes, pos, end));
  let value = 0n;
  for (let i = end - 1; i >= pos; i--) value = (value << 7n) | BigInt(bytes[i]! & 0x7f);
  return BigInt.asUintN(64, value);
}

/** Four bytes, little endian, unsigned. */
export function fixed32At(bytes: Uint8Array, pos: number): number {
  return (bytes[pos]! | (bytes[pos + 1]! << 8) | (bytes[pos + 2]! << 16) | (bytes[pos + 3]! << 24)) >>> 0;
}

/** Eight bytes, little endian, unsigned. */
export function fixed64At(bytes: Uint8Array, pos: number): bigint {
  return (BigInt(fixed32At(bytes, pos + 4)) << 32n) | BigInt(fixed32At(bytes, pos));
}

const doubleScratch = new DataView(new ArrayBuffer(8));

/** Eight bytes, little endian, as a double. */
export function doubleAt(bytes: Uint8Array, pos: number): number {
  doubleScratch.setUint32(0, fixed32At(bytes, pos), true);
  doubleScratch.setUint32(4, fixed32At(bytes, pos + 4), true);
  return doubleScratch.getFloat64(0, true);
}

/** The position after the group whose start tag ended at `pos`, or a failure. */
function groupEnd(bytes: Uint8Array, pos: number, end: number, field: number, depth: number): number {
  if (depth > MAX_GROUP_DEPTH) return TOO_DEEP;
  let at = pos;
  while (at < end) {
    const next = varint32End(bytes, at, end);
    if (next < 0) return next;
    const tag = uint32At(bytes, at, next);
    if (tag >>> 3 === 0) return INVALID_TAG;
    if ((tag & 7) === GROUP_END) return tag >>> 3 === field ? next : INVALID_TAG;
    at = valueEnd(bytes, next, end, tag, depth + 1);
    if (at < 0) return at;
  }
  return TRUNCATED;
}

/** The position after the value that follows `tag`, or a failure. */
export function valueEnd(bytes: Uint8Array, pos: number, end: number, tag: number, depth: number): number {
  switch (tag & 7) {
    case VARINT:
      return varintEnd(bytes, pos, end);
    case I64:
      return end - pos < 8 ? TRUNCATED : pos + 8;
    case LEN: {
      const next = varint32End(bytes, pos, end);
      if (next < 0) return next;
      const length = uint32At(bytes, pos, next);
      return length > end - next ? TRUNCATED : next + length;
    }
    case GROUP_START:
      return groupEnd(bytes, pos, end, tag >>> 3, depth);
    case I32:
      return end - pos < 4 ? TRUNCATED : pos + 4;
    case GROUP_END:
      return INVALID_TAG;
    default:
      return INVALID_WIRE_TYPE;
  }
}
