import { checkResource, checkScope } from "./check.ts";
import { FieldCursor } from "./cursor.ts";
import { OtlpError, failure } from "./errors.ts";
import { WITH_PARTS, hasTooManyParts } from "./part-count.ts";
import { scanSpan } from "./scan-span.ts";
import { REQUEST, RESOURCE_SPANS, SCOPE_SPANS } from "./shapes.ts";
import { MAX_SPANS, SPAN_AUDIT, SPAN_MALFORMED, SpanIndex } from "./span-index.ts";

// One of each is enough: the levels do not nest in themselves.
const request = new FieldCursor(REQUEST);
const resourceSpans = new FieldCursor(RESOURCE_SPANS, { repeats: "note" });
const scopeSpans = new FieldCursor(SCOPE_SPANS, { repeats: "note" });

const SPANS_TAG = 0x12;

/**
 * Finds the spans of an ExportTraceServiceRequest in one pass, with their resource and scope, and tells which are
 * audit events. Every span, resource and scope is checked to its last byte; what is wrong in one of them flags
 * the spans concerned as SPAN_MALFORMED. So does a span, resource or scope of more than `MAX_PARTS` parts.
 *
 * A repeated Resource, InstrumentationScope or schema URL flags all spans of its ResourceSpans or ScopeSpans: parsers
 * merge such messages in different ways, so they would not agree on what was recorded.
 *
 * @param into an index to fill again; its old content is dropped. Default: a new one.
 * @throws {OtlpError} when the framing around the spans (request, ResourceSpans, ScopeSpans) is broken, or when there
 *   are more than `MAX_SPANS` spans, resources or scopes. `into` is then empty.
 */
export function scanTraces(bytes: Uint8Array, into: SpanIndex = new SpanIndex()): SpanIndex {
  into.reset(bytes);
  try {
    scanRequest(bytes, into);
  } catch (error) {
    into.reset(bytes);
    throw error;
  }
  return into;
}

function scanRequest(bytes: Uint8Array, into: SpanIndex): void {
  if (bytes.length > 0xffffffff) {
    throw new OtlpError("INVALID_FIELD", `request of ${bytes.length} bytes: offsets have 32 bits`, 0);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  request.open(bytes, 0, bytes.length);
  while (request.next()) {
    if (request.field === 1) scanResourceSpans(bytes, view, request.valueStart, request.valueEnd, into);
  }
  if (request.error < 0) throw failure(request.error, "ExportTraceServiceRequest", request.fieldStart);
}

function scanResourceSpans(bytes: Uint8Array, view: DataView, start: number, end: number, into: SpanIndex): void {
  const firstSpan = into.count;
  const row = into.addResource();
  if (row === MAX_SPANS) throw tooMany("ResourceSpans", start);
  const cursor = resourceSpans;
  cursor.open(bytes, start, end);
  let broken = false;
  while (cursor.next()) {
    if (cursor.field === 2) {
      scanScopeSpans(bytes, view, cursor.valueStart, cursor.valueEnd, row, into);
    } else if (cursor.field === 1) {
      into.resourceStart[row] = cursor.valueStart;
      into.resourceEnd[row] = cursor.valueEnd;
      if (checkResource(bytes, cursor.valueStart, cursor.valueEnd) < 0) broken = true;
      else if (hasTooManyParts(bytes, cursor.valueStart, cursor.valueEnd)) broken = true;
    }
  }
  if (cursor.error < 0) throw failure(cursor.error, "ResourceSpans", cursor.fieldStart);
  if (broken || cursor.repeated) into.markMalformed(firstSpan);
}

function scanScopeSpans(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  resource: number,
  into: SpanIndex,
): void {
  const firstSpan = into.count;
  const row = into.addScope();
  if (row === MAX_SPANS) throw tooMany("ScopeSpans", start);
  const cursor = scopeSpans;
  cursor.open(bytes, start, end);
  let broken = false;
  for (;;) {
    cursor.pos = addUsualSpans(bytes, view, cursor.pos, end, resource, row, into);
    if (!cursor.next()) break;
    if (cursor.field === 2) {
      addSpan(bytes, view, cursor.valueStart, cursor.valueEnd, resource, row, into);
    } else if (cursor.field === 1) {
      into.scopeStart[row] = cursor.valueStart;
      into.scopeEnd[row] = cursor.valueEnd;
      if (checkScope(bytes, cursor.valueStart, cursor.valueEnd) < 0) broken = true;
      else if (hasTooManyParts(bytes, cursor.valueStart, cursor.valueEnd)) broken = true;
    }
  }
  if (cursor.error < 0) throw failure(cursor.error, "ScopeSpans", cursor.fieldStart);
  if (broken || cursor.repeated) into.markMalformed(firstSpan);
}

/** Adds spans as long as tag and length are of the usual form; gives the position of the first that is not. */
function addUsualSpans(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  resource: number,
  scope: number,
  into: SpanIndex,
): number {
  let pos = start;
  while (end - pos >= 4 && bytes[pos] === SPANS_TAG) {
    let length = bytes[pos + 1]!;
    let from = pos + 2;
    if (length > 0x7f) {
      const second = bytes[from++]!;
      length = (length & 0x7f) | ((second & 0x7f) << 7);
      if (second > 0x7f) {
        const third = bytes[from++]!;
        if (third > 0x7f) return pos;
        length |= third << 14;
      }
    }
    if (length > end - from) return pos;
    pos = from + length;
    addSpan(bytes, view, from, pos, resource, scope, into);
  }
  return pos;
}

function addSpan(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  resource: number,
  scope: number,
  into: SpanIndex,
): void {
  const row = into.count;
  if (row === MAX_SPANS) throw tooMany("spans", start);
  if (row === into.start.length) into.growSpans();
  let flags = scanSpan(bytes, view, start, end);
  if ((flags & SPAN_MALFORMED) === 0 && hasTooManyParts(bytes, start, end, WITH_PARTS)) flags |= SPAN_MALFORMED;
  into.start[row] = start;
  into.end[row] = end;
  into.resource[row] = resource;
  into.scope[row] = scope;
  into.flags[row] = flags;
  into.count = row + 1;
  if ((flags & SPAN_AUDIT) !== 0) into.auditCount++;
  if ((flags & SPAN_MALFORMED) !== 0) into.malformedCount++;
}

function tooMany(what: string, offset: number): OtlpError {
  return new OtlpError("TOO_MANY_SPANS", `more than ${MAX_SPANS} ${what} in one request`, offset);
}
