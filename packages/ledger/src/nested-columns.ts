import { EventFields, LinkFields, type SpanFields, readEvent, readLink } from "@otel-audit/otlp";
import { fillMap } from "./attribute-map.ts";
import { ByteBuffer, cutAt } from "./byte-buffer.ts";
import { EntryTable } from "./entry-table.ts";
import type { RecordNotes } from "./record-notes.ts";
import { LIMITS } from "./row-format.ts";
import { clampTime } from "./times.ts";

const event = new EventFields();
const link = new LinkFields();
const table = new EntryTable();
// One buffer for each of the arrays, which stand one after the other in a row.
const arrays = [new ByteBuffer(), new ByteBuffer(), new ByteBuffer(), new ByteBuffer()] as const;

/** Writes the three Events.* columns. Returns false when events or attributes of them were left out. */
export function writeEvents(out: ByteBuffer, notes: RecordNotes, bytes: Uint8Array, span: SpanFields): boolean {
  if (span.eventCount === 0) return writeNone(out, 3);
  const [times, names, attributes] = arrays;
  const count = notes.stage === 0 ? Math.min(span.eventCount, LIMITS.events) : 0;
  let complete = count === span.eventCount;
  for (const array of arrays) array.clear();
  for (let i = 0; i < count && !notes.overflow; i++) {
    readEvent(bytes, span.eventStart[i]!, span.eventEnd[i]!, event);
    const time = clampTime(notes, `event:${i}:time_unix_nano`, event.time);
    times.reserve(8);
    times.length = times.bytes.writeBigUInt64LE(time, times.length);
    writeText(names, notes, `column:Events.Name:${i}`, bytes, event.nameStart, event.nameEnd);
    complete = writeAttributes(attributes, notes, bytes, event.attributes, `event:${i}:`) && complete;
    checkSize(notes, times.length + names.length + attributes.length);
  }
  writeArrays(out, count, 3);
  return complete;
}

/** Writes the four Links.* columns. Returns false when links or attributes of them were left out. */
export function writeLinks(out: ByteBuffer, notes: RecordNotes, bytes: Uint8Array, span: SpanFields): boolean {
  if (span.linkCount === 0) return writeNone(out, 4);
  const [traceIds, spanIds, states, attributes] = arrays;
  const count = notes.stage === 0 ? Math.min(span.linkCount, LIMITS.events) : 0;
  let complete = count === span.linkCount;
  for (const array of arrays) array.clear();
  for (let i = 0; i < count && !notes.overflow; i++) {
    readLink(bytes, span.linkStart[i]!, span.linkEnd[i]!, link);
    writeId(traceIds, bytes, link.traceIdStart, link.traceIdEnd);
    writeId(spanIds, bytes, link.spanIdStart, link.spanIdEnd);
    writeText(states, notes, `column:Links.TraceState:${i}`, bytes, link.traceStateStart, link.traceStateEnd);
    complete = writeAttributes(attributes, notes, bytes, link.attributes, `link:${i}:`) && complete;
    checkSize(notes, states.length + attributes.length);
  }
  writeArrays(out, count, 4);
  return complete;
}

/** A trace or span id as lower hex; empty when it is absent or all zero, as upstream writes it. */
export function writeId(out: ByteBuffer, bytes: Uint8Array, start: number, end: number): void {
  let zero = true;
  for (let i = start; i < end && zero; i++) zero = bytes[i] === 0;
  if (zero) {
    out.byte(0);
    return;
  }
  out.varint((end - start) * 2);
  out.hex(bytes, start, end);
}

/** A name, state or message; `name` is what its note is called when it has to be cut. */
export function writeText(
  out: ByteBuffer,
  notes: RecordNotes,
  name: string,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  const cut = cutAt(bytes, start, end, notes.textLimit);
  out.string(bytes, start, cut);
  if (cut !== end) notes.noteCut(name, bytes, 0, 0, bytes, start, end);
}

function writeAttributes(
  out: ByteBuffer,
  notes: RecordNotes,
  bytes: Uint8Array,
  list: EventFields["attributes"],
  qualifier: string,
): boolean {
  table.clear();
  const complete = fillMap(table, notes, bytes, list, qualifier, undefined);
  table.write(out, bytes);
  return complete;
}

/** Empty arrays; nothing was left out. */
function writeNone(out: ByteBuffer, columns: number): true {
  out.zeros(columns);
  return true;
}

function writeArrays(out: ByteBuffer, count: number, columns: number): void {
  for (const array of arrays.slice(0, columns)) {
    out.varint(count);
    out.copyFrom(array);
  }
}

function checkSize(notes: RecordNotes, size: number): void {
  if (size > LIMITS.record) notes.overflow = true;
}
