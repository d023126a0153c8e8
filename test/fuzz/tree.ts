// A protobuf message as a tree that can be broken in places that bytes do not show: every field knows its tag, its wire type
// and its length apart from each other.

/** A field. The tree may contradict itself: that is what it is for. */
export interface Field {
  number: number;
  wire: number;
  /** A message, or the bytes of a value (without a length). */
  value: Field[] | Uint8Array;
  /** Added to the length that is written. */
  lengthDelta?: number;
  /** Bytes of the tag, and of the length, padded with zeros. */
  tagSize?: number;
  lengthSize?: number;
  /** Written instead of the length. */
  rawLength?: Uint8Array;
}

export function text(number: number, value: string): Field {
  return { number, wire: 2, value: Buffer.from(value) };
}

export function bytes(number: number, value: Uint8Array): Field {
  return { number, wire: 2, value };
}

export function message(number: number, value: Field[]): Field {
  return { number, wire: 2, value };
}

export function varint(number: number, value: number): Field {
  return { number, wire: 0, value: varintBytes(value) };
}

export function fixed64(number: number, value: bigint): Field {
  const eight = Buffer.alloc(8);
  eight.writeBigUInt64LE(value);
  return { number, wire: 1, value: eight };
}

export function fixed32(number: number, value: number): Field {
  const four = Buffer.alloc(4);
  four.writeUInt32LE(value);
  return { number, wire: 5, value: four };
}

/** A varint of at most 53 bits, padded to at least `size` bytes. */
export function varintBytes(value: number, size = 1): Uint8Array {
  const out: number[] = [];
  let rest = value;
  do {
    out.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  } while (rest > 0 || out.length < size);
  out.push(out.pop()! & 0x7f);
  return Uint8Array.from(out);
}

/** All fields of a tree, outer ones first, each with the list that it is in. */
export function allFields(list: Field[], into: [Field[], number][] = []): [Field[], number][] {
  for (const [i, field] of list.entries()) {
    into.push([list, i]);
    if (Array.isArray(field.value)) allFields(field.value, into);
  }
  return into;
}

const scratch = Buffer.allocUnsafe(16 * 1024 * 1024);

/** Written from its end to its start: a length is known once what it is the length of is there. */
export function encode(fields: readonly Field[]): Buffer {
  const start = writeFields(fields, scratch.length);
  return Buffer.from(scratch.subarray(start));
}

/** Gives where what it wrote begins. */
function writeFields(fields: readonly Field[], end: number): number {
  let at = end;
  for (let i = fields.length - 1; i >= 0; i--) at = writeField(fields[i]!, at);
  return at;
}

function writeField(field: Field, end: number): number {
  const { value } = field;
  let at = Array.isArray(value) ? writeFields(value, end) : put(value, end);
  // A message whose wire type was changed keeps its length: it is read as what it is said to be.
  if (field.wire === 2 || Array.isArray(value)) {
    const length = Math.max(0, end - at + (field.lengthDelta ?? 0));
    at = field.rawLength ? put(field.rawLength, at) : putVarint(length, at, field.lengthSize);
  }
  return putVarint((field.number * 8 + field.wire) % 2 ** 32, at, field.tagSize);
}

function put(bytes: Uint8Array, end: number): number {
  scratch.set(bytes, end - bytes.length);
  return end - bytes.length;
}

function putVarint(value: number, end: number, size = 1): number {
  if (value >= 0x80 || size > 1) return put(varintBytes(value, size), end);
  scratch[end - 1] = value;
  return end - 1;
}
