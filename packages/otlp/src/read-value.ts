import {
  type AttributeList,
  AttributeSlot,
  MAX_VALUE_DEPTH,
  ValueKind,
  parseAnyValue,
  parseKeyValue,
} from "./attributes.ts";
import { FieldCursor } from "./cursor.ts";
import { TOO_DEEP, failure } from "./errors.ts";
import { ARRAY_VALUE, KEY_VALUE_LIST } from "./shapes.ts";
import { text } from "./text.ts";
import { type AttributeValue, DoubleValue, encodesAsInteger, setFirst } from "./value.ts";
import { doubleAt, uint64At } from "./wire.ts";

/**
 * One AnyValue as a JavaScript value (see `AttributeValue`). Strings that are not UTF-8 get U+FFFD; bytes are copied.
 * Of a repeated key in a kvlist the first value counts.
 *
 * @param kind a `ValueKind`, with [start, end) as `AttributeList` has them
 * @throws {OtlpError} when an array or kvlist is broken or nests deeper than `MAX_VALUE_DEPTH`.
 */
export function readAnyValue(bytes: Uint8Array, kind: number, start: number, end: number): AttributeValue {
  return toValue(bytes, kind, start, end, 0);
}

/** An AttributeList as a plain object. The first value of a repeated key counts. */
export function readAttributes(bytes: Uint8Array, list: AttributeList): Record<string, AttributeValue> {
  const record: Record<string, AttributeValue> = {};
  for (let row = 0; row < list.count; row++) {
    const value = readAnyValue(bytes, list.kind[row]!, list.valueStart[row]!, list.valueEnd[row]!);
    setFirst(record, text(bytes, list.keyStart[row]!, list.keyEnd[row]!), value);
  }
  return record;
}

function toValue(bytes: Uint8Array, kind: number, start: number, end: number, depth: number): AttributeValue {
  switch (kind) {
    case ValueKind.String:
      return text(bytes, start, end);
    case ValueKind.Bool:
      return uint64At(bytes, start, end) !== 0n;
    case ValueKind.Int:
      return toInteger(BigInt.asIntN(64, uint64At(bytes, start, end)));
    case ValueKind.Double:
      return toDouble(doubleAt(bytes, start));
    case ValueKind.Array:
      return toArray(bytes, start, end, depth);
    case ValueKind.KvList:
      return toRecord(bytes, start, end, depth);
    case ValueKind.Bytes:
      return bytes.slice(start, end);
    default:
      return null;
  }
}

function toInteger(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function toDouble(value: number): number | DoubleValue {
  return encodesAsInteger(value) ? new DoubleValue(value) : value;
}

function toArray(bytes: Uint8Array, start: number, end: number, depth: number): AttributeValue[] {
  const values: AttributeValue[] = [];
  eachNested(bytes, ValueKind.Array, start, end, depth, (slot) => {
    values.push(toValue(bytes, slot.kind, slot.valueStart, slot.valueEnd, depth + 1));
  });
  return values;
}

function toRecord(bytes: Uint8Array, start: number, end: number, depth: number): Record<string, AttributeValue> {
  const record: Record<string, AttributeValue> = {};
  eachNested(bytes, ValueKind.KvList, start, end, depth, (slot) => {
    const key = text(bytes, slot.keyStart, slot.keyEnd);
    setFirst(record, key, toValue(bytes, slot.kind, slot.valueStart, slot.valueEnd, depth + 1));
  });
  return record;
}

/**
 * Calls `visit` for each item of an ArrayValue or member of a KeyValueList; `depth` counts from 0.
 * @throws {OtlpError} when it is broken or too deep.
 */
export function eachNested(
  bytes: Uint8Array,
  kind: number,
  start: number,
  end: number,
  depth: number,
  visit: (slot: AttributeSlot) => void,
): void {
  const isArray = kind === ValueKind.Array;
  const shape = isArray ? ARRAY_VALUE : KEY_VALUE_LIST;
  if (depth >= MAX_VALUE_DEPTH) throw failure(TOO_DEEP, shape.name, start);
  const parse = isArray ? parseAnyValue : parseKeyValue;
  const cursor = new FieldCursor(shape);
  const slot = new AttributeSlot();
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field !== 1) continue;
    const code = parse(bytes, cursor.valueStart, cursor.valueEnd, slot);
    if (code < 0) throw failure(code, isArray ? "AnyValue" : "KeyValue", cursor.valueStart);
    visit(slot);
  }
  if (cursor.error < 0) throw failure(cursor.error, shape.name, cursor.fieldStart);
}
