import { FieldCursor } from "./cursor.ts";
import { TOO_DEEP } from "./errors.ts";
import { ANY_VALUE, ARRAY_VALUE, KEY_VALUE, KEY_VALUE_LIST } from "./shapes.ts";

/** Which member of AnyValue is set: its field number, or 0. */
export const ValueKind = { Empty: 0, String: 1, Bool: 2, Int: 3, Double: 4, Array: 5, KvList: 6, Bytes: 7 } as const;

/**
 * Arrays and kvlists nest at most this deep. A level costs up to three messages, and protobuf implementations give
 * up at 100 messages: what is deeper could be accepted here and not be read by the backend behind.
 */
export const MAX_VALUE_DEPTH = 30;

/** One attribute as offsets; the functions below write their result here instead of allocating. */
export class AttributeSlot {
  keyStart = 0;
  keyEnd = 0;
  kind = 0;
  valueStart = 0;
  valueEnd = 0;
}

const keyValueCursor = new FieldCursor(KEY_VALUE);
const anyValueCursor = new FieldCursor(ANY_VALUE);

/**
 * Reads the KeyValue message in [start, end) into `slot`. Returns 0 or a failure. Does not look into arrays and
 * kvlists: `checkContainer` does.
 */
export function parseKeyValue(bytes: Uint8Array, start: number, end: number, slot: AttributeSlot): number {
  // Key, then value, each shorter than 128 bytes: nearly every attribute there is.
  if (end - start >= 4 && bytes[start] === 0x0a) {
    const keyStart = start + 2;
    const keyLength = bytes[start + 1]!;
    const keyEnd = keyStart + keyLength;
    if (keyLength < 0x80 && end - keyEnd >= 2 && bytes[keyEnd] === 0x12 && bytes[keyEnd + 1] === end - keyEnd - 2) {
      // One byte was equal to the rest's length, but from 128 on it would be the first of several.
      if (end - keyEnd - 2 < 0x80) {
        slot.keyStart = keyStart;
        slot.keyEnd = keyEnd;
        return parseAnyValue(bytes, keyEnd + 2, end, slot);
      }
    }
  }
  return parseUnusualKeyValue(bytes, start, end, slot);
}

function parseUnusualKeyValue(bytes: Uint8Array, start: number, end: number, slot: AttributeSlot): number {
  const cursor = keyValueCursor;
  cursor.open(bytes, start, end);
  slot.keyStart = slot.keyEnd = slot.valueStart = slot.valueEnd = start;
  slot.kind = ValueKind.Empty;
  while (cursor.next()) {
    if (cursor.field === 1) {
      slot.keyStart = cursor.valueStart;
      slot.keyEnd = cursor.valueEnd;
    } else if (cursor.field === 2) {
      const code = parseAnyValue(bytes, cursor.valueStart, cursor.valueEnd, slot);
      if (code < 0) return code;
    }
  }
  return cursor.error;
}

/** Reads the AnyValue message in [start, end) into the value half of `slot`. Returns 0 or a failure. */
export function parseAnyValue(bytes: Uint8Array, start: number, end: number, slot: AttributeSlot): number {
  const length = end - start;
  if (length >= 2) {
    const tag = bytes[start]!;
    const next = bytes[start + 1]!;
    if (
      tag === 0x0a
        ? next === length - 2 && length < 0x82
        : (tag === 0x10 || tag === 0x18) && next < 0x80 && length === 2
    ) {
      slot.kind = tag >>> 3;
      slot.valueStart = tag === 0x0a ? start + 2 : start + 1;
      slot.valueEnd = end;
      return 0;
    }
    if (tag === 0x21 && length === 9) {
      slot.kind = ValueKind.Double;
      slot.valueStart = start + 1;
      slot.valueEnd = end;
      return 0;
    }
  }
  return parseUnusualAnyValue(bytes, start, end, slot);
}

function parseUnusualAnyValue(bytes: Uint8Array, start: number, end: number, slot: AttributeSlot): number {
  const cursor = anyValueCursor;
  cursor.open(bytes, start, end);
  slot.kind = ValueKind.Empty;
  slot.valueStart = slot.valueEnd = start;
  while (cursor.next()) {
    if (cursor.field >= 1 && cursor.field <= 7) {
      slot.kind = cursor.field;
      slot.valueStart = cursor.valueStart;
      slot.valueEnd = cursor.valueEnd;
    }
  }
  return cursor.error;
}

interface Level {
  readonly list: FieldCursor;
  readonly array: FieldCursor;
}

// A cursor of its own for each level: the walk comes back to the outer container after the inner one.
const levels: Level[] = Array.from({ length: MAX_VALUE_DEPTH }, () => ({
  list: new FieldCursor(KEY_VALUE_LIST),
  array: new FieldCursor(ARRAY_VALUE),
}));
const nested = new AttributeSlot();

/** Checks an ArrayValue or KeyValueList and all within it. `depth` counts from 0. Returns 0 or a failure. */
export function checkContainer(bytes: Uint8Array, kind: number, start: number, end: number, depth: number): number {
  const level = levels[depth];
  if (level === undefined) return TOO_DEEP;
  const cursor = kind === ValueKind.Array ? level.array : level.list;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field !== 1) continue;
    let code =
      kind === ValueKind.Array
        ? parseAnyValue(bytes, cursor.valueStart, cursor.valueEnd, nested)
        : parseKeyValue(bytes, cursor.valueStart, cursor.valueEnd, nested);
    if (code === 0 && isContainer(nested.kind)) {
      code = checkContainer(bytes, nested.kind, nested.valueStart, nested.valueEnd, depth + 1);
    }
    if (code < 0) return code;
  }
  return cursor.error;
}

export function isContainer(kind: number): boolean {
  return kind === ValueKind.Array || kind === ValueKind.KvList;
}

/** Attributes of a span, resource, scope, event or link as offsets into the request. Reusable; grows as needed. */
export class AttributeList {
  /** How many rows of the arrays below are in use. */
  count = 0;
  keyStart = new Uint32Array(32);
  keyEnd = new Uint32Array(32);
  /** A `ValueKind`. */
  kind = new Uint8Array(32);
  /**
   * String, Bytes: the payload. Array, KvList: the body of ArrayValue or KeyValueList. Bool, Int: the varint.
   * Double: 8 bytes, little endian. Empty: nothing.
   */
  valueStart = new Uint32Array(32);
  valueEnd = new Uint32Array(32);

  clear(): void {
    this.count = 0;
  }

  /** The row of the first attribute with this key (UTF-8 bytes), or -1. */
  find(bytes: Uint8Array, key: Uint8Array): number {
    const { count, keyStart, keyEnd } = this;
    const length = key.length;
    for (let row = 0; row < count; row++) {
      const start = keyStart[row]!;
      if (keyEnd[row]! - start !== length) continue;
      let i = 0;
      while (i < length && bytes[start + i] === key[i]) i++;
      if (i === length) return row;
    }
    return -1;
  }

  /** Appends the KeyValue message in [start, end). Returns 0 or a failure. */
  append(bytes: Uint8Array, start: number, end: number): number {
    const code = parseKeyValue(bytes, start, end, appended);
    if (code < 0) return code;
    const row = this.count;
    if (row === this.kind.length) this.#grow();
    this.keyStart[row] = appended.keyStart;
    this.keyEnd[row] = appended.keyEnd;
    this.kind[row] = appended.kind;
    this.valueStart[row] = appended.valueStart;
    this.valueEnd[row] = appended.valueEnd;
    this.count = row + 1;
    return 0;
  }

  #grow(): void {
    const size = this.kind.length * 2;
    this.keyStart = grown32(this.keyStart, size);
    this.keyEnd = grown32(this.keyEnd, size);
    this.valueStart = grown32(this.valueStart, size);
    this.valueEnd = grown32(this.valueEnd, size);
    this.kind = grown8(this.kind, size);
  }
}

const appended = new AttributeSlot();

export function grown32(old: Uint32Array, size: number): Uint32Array<ArrayBuffer> {
  const wider = new Uint32Array(size);
  wider.set(old);
  return wider;
}

export function grown8(old: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const wider = new Uint8Array(size);
  wider.set(old);
  return wider;
}
