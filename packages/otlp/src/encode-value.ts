import { MAX_VALUE_DEPTH } from "./attributes.ts";
import { OtlpError } from "./errors.ts";
import { type AttributeValue, type Attributes, DoubleValue, encodesAsInteger } from "./value.ts";
import type { ByteWriter } from "./writer.ts";

const MIN_INT64 = -(2n ** 63n);
const MAX_INT64 = 2n ** 63n - 1n;

/** Writes each attribute as a field with this tag (one byte: the field's number and wire type 2). */
export function writeAttributes(writer: ByteWriter, tag: number, attributes: Attributes | undefined): void {
  if (attributes === undefined) return;
  for (const key of Object.keys(attributes)) {
    const value: AttributeValue | undefined = attributes[key];
    if (value !== undefined) writeAttribute(writer, tag, key, value);
  }
}

export function writeAttribute(writer: ByteWriter, tag: number, key: string, value: AttributeValue): void {
  writeKeyValue(writer, tag, key, value, 0);
}

function writeKeyValue(writer: ByteWriter, tag: number, key: string, value: AttributeValue, depth: number): void {
  writer.byte(tag);
  const keyValue = writer.open();
  writer.byte(0x0a);
  writer.string(key);
  writer.byte(0x12);
  const anyValue = writer.open();
  writeAnyValue(writer, key, value, depth);
  writer.close(anyValue);
  writer.close(keyValue);
}

/** Writes the fields of an AnyValue message. */
function writeAnyValue(writer: ByteWriter, key: string, value: AttributeValue, depth: number): void {
  switch (typeof value) {
    case "string":
      writer.byte(0x0a);
      writer.string(value);
      return;
    case "boolean":
      writer.byte(0x10);
      writer.byte(value ? 1 : 0);
      return;
    case "number":
      writeNumber(writer, value);
      return;
    case "bigint":
      if (value < MIN_INT64 || value > MAX_INT64) {
        throw new OtlpError("INVALID_FIELD", `attribute "${key}": ${value} does not fit int64`, 0);
      }
      writer.byte(0x18);
      writer.varint64(value);
      return;
    case "object":
      if (value !== null) writeObject(writer, key, value, depth);
      return;
    default:
      throw new OtlpError("INVALID_FIELD", `attribute "${key}": a ${typeof value} is not an attribute value`, 0);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (encodesAsInteger(value)) {
    writer.byte(0x18);
    writer.varintNumber(value);
  } else {
    writer.byte(0x21);
    writer.double(value);
  }
}

function writeObject(writer: ByteWriter, key: string, value: object & AttributeValue, depth: number): void {
  if (value instanceof DoubleValue) {
    writer.byte(0x21);
    writer.double(value.value);
    return;
  }
  if (value instanceof Uint8Array) {
    writer.byte(0x3a);
    writer.varint(value.length);
    writer.raw(value);
    return;
  }
  if (depth >= MAX_VALUE_DEPTH) {
    throw new OtlpError("TOO_DEEP", `attribute "${key}": nests deeper than ${MAX_VALUE_DEPTH} arrays and objects`, 0);
  }
  if (isArray(value)) {
    writer.byte(0x2a);
    const array = writer.open();
    for (const item of value) {
      writer.byte(0x0a);
      const mark = writer.open();
      writeAnyValue(writer, key, item, depth + 1);
      writer.close(mark);
    }
    writer.close(array);
    return;
  }
  writer.byte(0x32);
  const list = writer.open();
  for (const member of Object.keys(value)) {
    const inner: AttributeValue | undefined = value[member];
    if (inner !== undefined) writeKeyValue(writer, 0x0a, member, inner, depth + 1);
  }
  writer.close(list);
}

/** Array.isArray does not narrow a union with a readonly array. */
function isArray(value: AttributeValue): value is readonly AttributeValue[] {
  return Array.isArray(value);
}
