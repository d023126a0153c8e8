import type { EventData, LinkData, ResourceData, ScopeData, SpanData, TracesData } from "./data.ts";
import { writeAttribute, writeAttributes } from "./encode-value.ts";
import { OtlpError } from "./errors.ts";
import { hexDigit } from "./text.ts";
import type { AttributeValue, Attributes } from "./value.ts";
import { ByteWriter, varintLength } from "./writer.ts";

/** Larger buffers are given back after use instead of being kept for the next call. */
const KEEP = 1 << 20;
let shared = new ByteWriter();

/** Runs `write` on the shared buffer and gives a copy of what it wrote. */
function encoded(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = shared;
  writer.clear();
  write(writer);
  const result = writer.finish();
  if (writer.bytes.length > KEEP) shared = new ByteWriter();
  return result;
}

/**
 * An ExportTraceServiceRequest.
 * @throws {OtlpError} INVALID_FIELD for an id that is not hexadecimal of its length, a time or integer out of range,
 *   or an unsupported attribute value; TOO_DEEP for values nested deeper than `MAX_VALUE_DEPTH`.
 */
export function encodeTraces(data: TracesData): Uint8Array {
  return encoded((writer) => {
    for (const { resource, scopeSpans, schemaUrl } of data.resourceSpans) {
      const resourceMark = message(writer, 0x0a);
      if (resource !== undefined) writeResource(writer, resource);
      for (const { scope, spans, schemaUrl } of scopeSpans) {
        const scopeMark = message(writer, 0x12);
        if (scope !== undefined) writeScope(writer, scope);
        for (const span of spans) {
          const mark = message(writer, 0x12);
          writeSpan(writer, span);
          writer.close(mark);
        }
        writeString(writer, 0x1a, schemaUrl);
        writer.close(scopeMark);
      }
      writeString(writer, 0x1a, schemaUrl);
      writer.close(resourceMark);
    }
  });
}

/** A Span message body, for `frameSpans`. @throws {OtlpError} as `encodeTraces` does. */
export function encodeSpan(span: SpanData): Uint8Array {
  return encoded((writer) => writeSpan(writer, span));
}

/**
 * One `attributes` field of a Span (tag 9, length, KeyValue). Fields may stand in any order, so it can be put before or
 * after an encoded Span body to add the attribute. @throws {OtlpError} as `encodeTraces` does.
 */
export function encodeAttribute(key: string, value: AttributeValue): Uint8Array {
  return encoded((writer) => writeAttribute(writer, 0x4a, key, value));
}

/** An ExportTraceServiceRequest with one resource and one scope around encoded Span bodies. */
export function frameSpans(
  resource: Attributes,
  scope: { name: string; version?: string | undefined },
  spans: readonly Uint8Array[],
): Uint8Array {
  const resourceField = encoded((writer) => writeResource(writer, { attributes: resource }));
  const scopeField = encoded((writer) => writeScope(writer, scope));
  let scopeSize = scopeField.length;
  for (const span of spans) scopeSize += 1 + varintLength(span.length) + span.length;
  const resourceSize = resourceField.length + 1 + varintLength(scopeSize) + scopeSize;
  const writer = new ByteWriter(1 + varintLength(resourceSize) + resourceSize + ROOM);
  writer.byte(0x0a);
  writer.varint(resourceSize);
  writer.raw(resourceField);
  writer.byte(0x12);
  writer.varint(scopeSize);
  writer.raw(scopeField);
  for (const span of spans) {
    writer.byte(0x12);
    writer.varint(span.length);
    writer.raw(span);
  }
  return writer.bytes.subarray(0, writer.length);
}

/** `varint` asks for room for the longest varint. */
const ROOM = 4;

function message(writer: ByteWriter, tag: number): number {
  writer.byte(tag);
  return writer.open();
}

function writeResource(writer: ByteWriter, resource: ResourceData): void {
  const mark = message(writer, 0x0a);
  writeAttributes(writer, 0x0a, resource.attributes);
  writeCount(writer, 0x10, resource.droppedAttributesCount);
  writer.close(mark);
}

function writeScope(writer: ByteWriter, scope: ScopeData): void {
  const mark = message(writer, 0x0a);
  writeString(writer, 0x0a, scope.name);
  writeString(writer, 0x12, scope.version);
  writeAttributes(writer, 0x1a, scope.attributes);
  writeCount(writer, 0x20, scope.droppedAttributesCount);
  writer.close(mark);
}

function writeSpan(writer: ByteWriter, span: SpanData): void {
  writeId(writer, 0x0a, "traceId", span.traceId, 16);
  writeId(writer, 0x12, "spanId", span.spanId, 8);
  writeString(writer, 0x1a, span.traceState);
  if (span.parentSpanId !== undefined && span.parentSpanId !== "") {
    writeId(writer, 0x22, "parentSpanId", span.parentSpanId, 8);
  }
  writeString(writer, 0x2a, span.name);
  writeInt32(writer, 0x30, span.kind);
  writeTime(writer, 0x39, "startTimeUnixNano", span.startTimeUnixNano);
  writeTime(writer, 0x41, "endTimeUnixNano", span.endTimeUnixNano);
  writeAttributes(writer, 0x4a, span.attributes);
  writeCount(writer, 0x50, span.droppedAttributesCount);
  for (const event of span.events ?? []) writeEvent(writer, event);
  writeCount(writer, 0x60, span.droppedEventsCount);
  for (const link of span.links ?? []) writeLink(writer, link);
  writeCount(writer, 0x70, span.droppedLinksCount);
  if (span.status !== undefined) {
    const mark = message(writer, 0x7a);
    writeString(writer, 0x12, span.status.message);
    writeInt32(writer, 0x18, span.status.code);
    writer.close(mark);
  }
  if (span.flags !== undefined && span.flags !== 0) {
    writer.byte(0x85);
    writer.byte(0x01);
    writer.fixed32(span.flags);
  }
}

function writeEvent(writer: ByteWriter, event: EventData): void {
  const mark = message(writer, 0x5a);
  writeTime(writer, 0x09, "timeUnixNano", event.timeUnixNano);
  writeString(writer, 0x12, event.name);
  writeAttributes(writer, 0x1a, event.attributes);
  writeCount(writer, 0x20, event.droppedAttributesCount);
  writer.close(mark);
}

function writeLink(writer: ByteWriter, link: LinkData): void {
  const mark = message(writer, 0x6a);
  if (link.traceId !== "") writeId(writer, 0x0a, "traceId", link.traceId, 16);
  if (link.spanId !== "") writeId(writer, 0x12, "spanId", link.spanId, 8);
  writeString(writer, 0x1a, link.traceState);
  writeAttributes(writer, 0x22, link.attributes);
  writeCount(writer, 0x28, link.droppedAttributesCount);
  if (link.flags !== undefined && link.flags !== 0) {
    writer.byte(0x35);
    writer.fixed32(link.flags);
  }
  writer.close(mark);
}

/** proto3 leaves out what has its default. */
function writeString(writer: ByteWriter, tag: number, value: string | undefined): void {
  if (value === undefined || value === "") return;
  writer.byte(tag);
  writer.string(value);
}

function writeCount(writer: ByteWriter, tag: number, value: number | undefined): void {
  if (value === undefined || value === 0) return;
  writer.byte(tag);
  writer.varint(value >>> 0);
}

function writeInt32(writer: ByteWriter, tag: number, value: number | undefined): void {
  if (value === undefined || value === 0) return;
  writer.byte(tag);
  writer.varintNumber(value | 0);
}

function writeTime(writer: ByteWriter, tag: number, name: string, value: bigint): void {
  if (value === 0n) return;
  if (value < 0n || value >= 1n << 64n) {
    throw new OtlpError("INVALID_FIELD", `${name}: ${value} is not a time between 0 and 2^64 - 1 nanoseconds`, 0);
  }
  writer.byte(tag);
  writer.fixed64(value);
}

function writeId(writer: ByteWriter, tag: number, name: string, digits: string, length: number): void {
  writer.byte(tag);
  writer.byte(length);
  writer.need(length);
  const { bytes, length: at } = writer;
  // -1 where there is no digit: one is enough to make the whole negative.
  let invalid = digits.length === length * 2 ? 0 : -1;
  for (let i = 0; i < length; i++) {
    const high = hexDigit(digits.charCodeAt(i * 2));
    const low = hexDigit(digits.charCodeAt(i * 2 + 1));
    invalid |= high | low;
    bytes[at + i] = (high << 4) | low;
  }
  writer.length = at + length;
  if (invalid < 0)
    throw new OtlpError("INVALID_FIELD", `${name}: "${digits}" is not ${length * 2} hexadecimal digits`, 0);
}
