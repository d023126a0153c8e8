import { AttributeList } from "./attributes.ts";
import type { EventData, LinkData, ResourceData, ScopeData, SpanData, TracesData } from "./data.ts";
import { EventFields, LinkFields, ScopeFields, SpanFields } from "./fields.ts";
import { readEvent, readLink, readResource, readScope, readSpan } from "./read.ts";
import { readAttributes } from "./read-value.ts";
import { hex, text } from "./text.ts";
import { buildTraces } from "./walk.ts";

const spanFields = new SpanFields();
const eventFields = new EventFields();
const linkFields = new LinkFields();
const scopeFields = new ScopeFields();
const resourceFields = new AttributeList();

/**
 * An ExportTraceServiceRequest as objects. What has its default is left out, so that decoding what was encoded
 * from decoded data gives equal data. Unknown fields and entity references are not kept.
 *
 * @throws {OtlpError} on any damage, also where `scanTraces` would only flag a span.
 */
export function decodeTraces(bytes: Uint8Array): TracesData {
  return { resourceSpans: buildTraces(bytes, { resource: decodeResource, scope: decodeScope, span: decodeSpan }) };
}

function decodeResource(bytes: Uint8Array, start: number, end: number, droppedAttributes: number): ResourceData {
  const data: ResourceData = {};
  readResource(bytes, start, end, resourceFields);
  addAttributes(data, bytes, resourceFields, droppedAttributes);
  return data;
}

function decodeScope(bytes: Uint8Array, start: number, end: number): ScopeData {
  const fields = scopeFields;
  readScope(bytes, start, end, fields);
  const data: ScopeData = { name: text(bytes, fields.nameStart, fields.nameEnd) };
  if (fields.versionEnd !== fields.versionStart) data.version = text(bytes, fields.versionStart, fields.versionEnd);
  addAttributes(data, bytes, fields.attributes, fields.droppedAttributes);
  return data;
}

/** A Span message body as an object. @throws {OtlpError} on any damage. */
export function decodeSpan(bytes: Uint8Array, start: number, end: number): SpanData {
  const fields = spanFields;
  readSpan(bytes, start, end, fields);
  const data: SpanData = {
    traceId: hex(bytes, fields.traceIdStart, fields.traceIdEnd),
    spanId: hex(bytes, fields.spanIdStart, fields.spanIdEnd),
    name: text(bytes, fields.nameStart, fields.nameEnd),
    startTimeUnixNano: fields.startTime,
    endTimeUnixNano: fields.endTime,
  };
  if (fields.parentSpanIdEnd !== fields.parentSpanIdStart) {
    data.parentSpanId = hex(bytes, fields.parentSpanIdStart, fields.parentSpanIdEnd);
  }
  if (fields.traceStateEnd !== fields.traceStateStart) {
    data.traceState = text(bytes, fields.traceStateStart, fields.traceStateEnd);
  }
  if (fields.kind !== 0) data.kind = fields.kind;
  if (fields.flags !== 0) data.flags = fields.flags;
  addAttributes(data, bytes, fields.attributes, fields.droppedAttributes);
  addStatus(data, bytes, fields);
  addEvents(data, bytes, fields);
  addLinks(data, bytes, fields);
  return data;
}

function addStatus(data: SpanData, bytes: Uint8Array, fields: SpanFields): void {
  const message = text(bytes, fields.statusMessageStart, fields.statusMessageEnd);
  if (fields.statusCode === 0 && message === "") return;
  data.status = {};
  if (fields.statusCode !== 0) data.status.code = fields.statusCode;
  if (message !== "") data.status.message = message;
}

function addEvents(data: SpanData, bytes: Uint8Array, fields: SpanFields): void {
  if (fields.droppedEvents !== 0) data.droppedEventsCount = fields.droppedEvents;
  if (fields.eventCount === 0) return;
  const events: EventData[] = [];
  for (let row = 0; row < fields.eventCount; row++) {
    readEvent(bytes, fields.eventStart[row]!, fields.eventEnd[row]!, eventFields);
    const event: EventData = {
      timeUnixNano: eventFields.time,
      name: text(bytes, eventFields.nameStart, eventFields.nameEnd),
    };
    addAttributes(event, bytes, eventFields.attributes, eventFields.droppedAttributes);
    events.push(event);
  }
  data.events = events;
}

function addLinks(data: SpanData, bytes: Uint8Array, fields: SpanFields): void {
  if (fields.droppedLinks !== 0) data.droppedLinksCount = fields.droppedLinks;
  if (fields.linkCount === 0) return;
  const links: LinkData[] = [];
  for (let row = 0; row < fields.linkCount; row++) {
    readLink(bytes, fields.linkStart[row]!, fields.linkEnd[row]!, linkFields);
    const link: LinkData = {
      traceId: hex(bytes, linkFields.traceIdStart, linkFields.traceIdEnd),
      spanId: hex(bytes, linkFields.spanIdStart, linkFields.spanIdEnd),
    };
    if (linkFields.traceStateEnd !== linkFields.traceStateStart) {
      link.traceState = text(bytes, linkFields.traceStateStart, linkFields.traceStateEnd);
    }
    if (linkFields.flags !== 0) link.flags = linkFields.flags;
    addAttributes(link, bytes, linkFields.attributes, linkFields.droppedAttributes);
    links.push(link);
  }
  data.links = links;
}

function addAttributes(data: ResourceData, bytes: Uint8Array, list: AttributeList, dropped: number): void {
  if (list.count !== 0) data.attributes = readAttributes(bytes, list);
  if (dropped !== 0) data.droppedAttributesCount = dropped;
}
