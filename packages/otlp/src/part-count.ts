import { LEN, uint32At, valueEnd, varint32End } from "./wire.ts";

/** Fields of one span, resource or scope: far above what any has, and their tables, which are kept, have a few megabytes. */
export const MAX_PARTS = 1 << 17;
/** A field has a tag and a value. */
const LEAST_BYTES = 2;

/** Fields of a Span that have attributes of their own: events and links. */
export const WITH_PARTS: readonly number[] = [11, 13];

/**
 * Whether a message that is whole has more than `MAX_PARTS` fields, those within its fields `nested` included. Whoever keeps a
 * place for each attribute, event and link needs a bound, and sixty megabytes have room for thirty million.
 */
export function hasTooManyParts(
  bytes: Uint8Array,
  start: number,
  end: number,
  nested: readonly number[] = [],
): boolean {
  return end - start > MAX_PARTS * LEAST_BYTES && countParts(bytes, start, end, nested) > MAX_PARTS;
}

function countParts(bytes: Uint8Array, start: number, end: number, nested: readonly number[]): number {
  let count = 0;
  for (let pos = start; pos < end && count <= MAX_PARTS; count++) {
    const tagEnd = varint32End(bytes, pos, end);
    const tag = uint32At(bytes, pos, tagEnd);
    pos = valueEnd(bytes, tagEnd, end, tag, 1);
    if ((tag & 7) === LEN && nested.includes(tag >>> 3))
      count += countParts(bytes, varint32End(bytes, tagEnd, end), pos, []);
  }
  return count;
}
