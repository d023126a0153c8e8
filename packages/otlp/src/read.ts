import type { AttributeList } from "./attributes.ts";
import { FieldCursor } from "./cursor.ts";
import { INVALID_FIELD, failure } from "./errors.ts";
import type { EventFields, LinkFields, ScopeFields, SpanFields } from "./fields.ts";
import { isId } from "./scan-span.ts";
import { EVENT, LINK, RESOURCE, SCOPE, SPAN, STATUS } from "./shapes.ts";
import { LEN, fixed32At, fixed64At, uint32At } from "./wire.ts";

const ATTRIBUTE_TAG = (9 << 3) | LEN;

const spans = new FieldCursor(SPAN);
const resources = new FieldCursor(RESOURCE);
const scopes = new FieldCursor(SCOPE);
const statuses = new FieldCursor(STATUS);
const events = new FieldCursor(EVENT);
const links = new FieldCursor(LINK);

/**
 * Reads the Span message body in [start, end). Events, links, arrays and kvlists are only located: `readEvent`,
 * `readLink` and `readAnyValue` check them when they are read. A span that `scanTraces` did not flag can be read.
 *
 * @throws {OtlpError} under the same rules that make `scanTraces` flag a span.
 */
export function readSpan(bytes: Uint8Array, start: number, end: number, into: SpanFields): void {
  into.reset(bytes, start, end);
  const cursor = spans;
  cursor.open(bytes, start, end);
  readUsualStart(bytes, cursor, into);
  for (;;) {
    cursor.pos = readShortAttributes(bytes, cursor.pos, end, into.attributes);
    if (!cursor.next()) break;
    const code = readSpanField(bytes, cursor, into);
    if (code < 0) throw failure(code, "Span", cursor.fieldStart);
  }
  if (cursor.error < 0) throw failure(cursor.error, "Span", cursor.fieldStart);
  if (!isId(bytes, into.traceIdStart, into.traceIdEnd, 16) || !isId(bytes, into.spanIdStart, into.spanIdEnd, 8)) {
    throw failure(INVALID_FIELD, "Span (trace id or span id)", start);
  }
}

/**
 * Reads the fields that stand before the attributes, as far as they come by their numbers and without a trace state, as
 * nearly every SDK writes them.
 */
function readUsualStart(bytes: Uint8Array, cursor: FieldCursor, into: SpanFields): void {
  const { pos: start, end } = cursor;
  // Both ids, and nothing below can look behind the end.
  if (end - start < 64 || bytes[start] !== 0x0a || bytes[start + 1] !== 16) return;
  if (bytes[start + 18] !== 0x12 || bytes[start + 19] !== 8) return;
  into.traceIdStart = start + 2;
  into.traceIdEnd = start + 18;
  into.spanIdStart = start + 20;
  let pos = (into.spanIdEnd = start + 28);
  let seen = (1 << 1) | (1 << 2);
  if (bytes[pos] === 0x22 && bytes[pos + 1] === 8) {
    into.parentSpanIdStart = pos + 2;
    pos = into.parentSpanIdEnd = pos + 10;
    seen |= 1 << 4;
  }
  if (bytes[pos] === 0x2a && bytes[pos + 1]! < end - pos - 24 && bytes[pos + 1]! < 0x80) {
    into.nameStart = pos + 2;
    pos = into.nameEnd = pos + 2 + bytes[pos + 1]!;
    seen |= 1 << 5;
    if (bytes[pos] === 0x30 && bytes[pos + 1]! < 0x80) {
      into.kind = bytes[pos + 1]!;
      pos += 2;
      seen |= 1 << 6;
    }
    if (bytes[pos] === 0x39) {
      into.startTimeOffset = pos + 1;
      pos += 9;
      seen |= 1 << 7;
    }
    if (bytes[pos] === 0x41) {
      into.endTimeOffset = pos + 1;
      pos += 9;
      seen |= 1 << 8;
    }
  }
  cursor.resume(pos, seen);
}

/** Reads attributes shorter than 128 bytes that follow one another; gives the position of the first field that is none. */
function readShortAttributes(bytes: Uint8Array, start: number, end: number, into: AttributeList): number {
  let pos = start;
  while (end - pos >= 2 && bytes[pos] === ATTRIBUTE_TAG) {
    const length = bytes[pos + 1]!;
    const next = pos + 2 + length;
    if (length > 0x7f || next > end) return pos;
    const code = into.append(bytes, pos + 2, next);
    if (code < 0) throw failure(code, "Span", pos);
    pos = next;
  }
  return pos;
}

function readSpanField(bytes: Uint8Array, cursor: FieldCursor, into: SpanFields): number {
  const { valueStart, valueEnd } = cursor;
  switch (cursor.field) {
    case 1:
      into.traceIdStart = valueStart;
      into.traceIdEnd = valueEnd;
      return 0;
    case 2:
      into.spanIdStart = valueStart;
      into.spanIdEnd = valueEnd;
      return 0;
    case 3:
      into.traceStateStart = valueStart;
      into.traceStateEnd = valueEnd;
      return 0;
    case 4:
      into.parentSpanIdStart = valueStart;
      into.parentSpanIdEnd = valueEnd;
      return 0;
    case 5:
      into.nameStart = valueStart;
      into.nameEnd = valueEnd;
      return 0;
    case 6:
      into.kind = uint32At(bytes, valueStart, valueEnd) | 0;
      return 0;
    case 7:
      into.startTimeOffset = valueStart;
      return 0;
    case 8:
      into.endTimeOffset = valueStart;
      return 0;
    case 9:
      return into.attributes.append(bytes, valueStart, valueEnd);
    case 10:
      into.droppedAttributes = uint32At(bytes, valueStart, valueEnd);
      return 0;
    case 11:
      into.addEvent(valueStart, valueEnd);
      return 0;
    case 12:
      into.droppedEvents = uint32At(bytes, valueStart, valueEnd);
      return 0;
    case 13:
      into.addLink(valueStart, valueEnd);
      return 0;
    case 14:
      into.droppedLinks = uint32At(bytes, valueStart, valueEnd);
      return 0;
    case 15:
      return readStatus(bytes, valueStart, valueEnd, into);
    case 16:
      into.flags = fixed32At(bytes, valueStart);
      return 0;
    default:
      return 0;
  }
}

function readStatus(bytes: Uint8Array, start: number, end: number, into: SpanFields): number {
  const cursor = statuses;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field === 2) {
      into.statusMessageStart = cursor.valueStart;
      into.statusMessageEnd = cursor.valueEnd;
    } else if (cursor.field === 3) {
      into.statusCode = uint32At(bytes, cursor.valueStart, cursor.valueEnd) | 0;
    }
  }
  return cursor.error;
}

/**
 * Reads the attributes of the Resource message body in [start, end); (0, 0) is a resource without attributes.
 * @throws {OtlpError} when it is broken.
 */
export function readResource(bytes: Uint8Array, start: number, end: number, into: AttributeList): void {
  into.clear();
  const cursor = resources;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field === 1) append(bytes, cursor, into);
  }
  if (cursor.error < 0) throw failure(cursor.error, "Resource", cursor.fieldStart);
}

/**
 * Reads the InstrumentationScope message body in [start, end); (0, 0) is one without name.
 * @throws {OtlpError} when it is broken.
 */
export function readScope(bytes: Uint8Array, start: number, end: number, into: ScopeFields): void {
  into.nameStart = into.nameEnd = into.versionStart = into.versionEnd = into.droppedAttributes = 0;
  into.attributes.clear();
  const cursor = scopes;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field === 1) {
      into.nameStart = cursor.valueStart;
      into.nameEnd = cursor.valueEnd;
    } else if (cursor.field === 2) {
      into.versionStart = cursor.valueStart;
      into.versionEnd = cursor.valueEnd;
    } else if (cursor.field === 3) {
      append(bytes, cursor, into.attributes);
    } else if (cursor.field === 4) {
      into.droppedAttributes = uint32At(bytes, cursor.valueStart, cursor.valueEnd);
    }
  }
  if (cursor.error < 0) throw failure(cursor.error, "InstrumentationScope", cursor.fieldStart);
}

/** Reads the Event message body in [start, end). @throws {OtlpError} when it is broken. */
export function readEvent(bytes: Uint8Array, start: number, end: number, into: EventFields): void {
  into.time = 0n;
  into.nameStart = into.nameEnd = into.droppedAttributes = 0;
  into.attributes.clear();
  const cursor = events;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field === 1) {
      into.time = fixed64At(bytes, cursor.valueStart);
    } else if (cursor.field === 2) {
      into.nameStart = cursor.valueStart;
      into.nameEnd = cursor.valueEnd;
    } else if (cursor.field === 3) {
      append(bytes, cursor, into.attributes);
    } else if (cursor.field === 4) {
      into.droppedAttributes = uint32At(bytes, cursor.valueStart, cursor.valueEnd);
    }
  }
  if (cursor.error < 0) throw failure(cursor.error, "Span.Event", cursor.fieldStart);
}

/** Reads the Link message body in [start, end). @throws {OtlpError} when it is broken. */
export function readLink(bytes: Uint8Array, start: number, end: number, into: LinkFields): void {
  into.traceIdStart = into.traceIdEnd = into.spanIdStart = into.spanIdEnd = 0;
  into.traceStateStart = into.traceStateEnd = into.droppedAttributes = into.flags = 0;
  into.attributes.clear();
  const cursor = links;
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    const { field, valueStart, valueEnd } = cursor;
    if (field === 1) {
      into.traceIdStart = valueStart;
      into.traceIdEnd = valueEnd;
    } else if (field === 2) {
      into.spanIdStart = valueStart;
      into.spanIdEnd = valueEnd;
    } else if (field === 3) {
      into.traceStateStart = valueStart;
      into.traceStateEnd = valueEnd;
    } else if (field === 4) {
      append(bytes, cursor, into.attributes);
    } else if (field === 5) {
      into.droppedAttributes = uint32At(bytes, valueStart, valueEnd);
    } else if (field === 6) {
      into.flags = fixed32At(bytes, valueStart);
    }
  }
  if (cursor.error < 0) throw failure(cursor.error, "Span.Link", cursor.fieldStart);
}

function append(bytes: Uint8Array, cursor: FieldCursor, into: AttributeList): void {
  const code = into.append(bytes, cursor.valueStart, cursor.valueEnd);
  if (code < 0) throw failure(code, "KeyValue", cursor.valueStart);
}
