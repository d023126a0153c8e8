import { AttributeList, ValueKind } from "./attributes.ts";
import { EventFields, LinkFields, ScopeFields, SpanFields } from "./fields.ts";
import { readEvent, readLink, readResource, readScope, readSpan } from "./read.ts";
import { eachNested } from "./read-value.ts";
import { base64, hex, text } from "./text.ts";
import { doubleAt, uint64At } from "./wire.ts";
import { buildTraces } from "./walk.ts";

type Json = string | number | boolean | Json[] | { [key: string]: Json };
type JsonObject = { [key: string]: Json };

const spanFields = new SpanFields();
const eventFields = new EventFields();
const linkFields = new LinkFields();
const scopeFields = new ScopeFields();
const resourceFields = new AttributeList();

/**
 * An ExportTraceServiceRequest as OTLP/JSON: ids hexadecimal, enums as integers, 64-bit integers as strings, defaults
 * left out. Repeated attribute keys stay. Unknown fields and entity references are not kept.
 *
 * @throws {OtlpError} on any damage, also where `scanTraces` would only flag a span.
 */
export function protobufToJson(bytes: Uint8Array): string {
  return JSON.stringify({
    resourceSpans: buildTraces(bytes, { resource: resourceJson, scope: scopeJson, span: spanJson }),
  });
}

function resourceJson(bytes: Uint8Array, start: number, end: number, droppedAttributes: number): JsonObject {
  const json: JsonObject = {};
  readResource(bytes, start, end, resourceFields);
  putAttributes(json, bytes, resourceFields, droppedAttributes);
  return json;
}

function scopeJson(bytes: Uint8Array, start: number, end: number): JsonObject {
  const fields = scopeFields;
  readScope(bytes, start, end, fields);
  const json: JsonObject = {};
  putText(json, "name", bytes, fields.nameStart, fields.nameEnd);
  putText(json, "version", bytes, fields.versionStart, fields.versionEnd);
  putAttributes(json, bytes, fields.attributes, fields.droppedAttributes);
  return json;
}

function spanJson(bytes: Uint8Array, start: number, end: number): JsonObject {
  const fields = spanFields;
  readSpan(bytes, start, end, fields);
  const json: JsonObject = {
    traceId: hex(bytes, fields.traceIdStart, fields.traceIdEnd),
    spanId: hex(bytes, fields.spanIdStart, fields.spanIdEnd),
  };
  putText(json, "traceState", bytes, fields.traceStateStart, fields.traceStateEnd);
  if (fields.parentSpanIdEnd !== fields.parentSpanIdStart) {
    json["parentSpanId"] = hex(bytes, fields.parentSpanIdStart, fields.parentSpanIdEnd);
  }
  putText(json, "name", bytes, fields.nameStart, fields.nameEnd);
  putNumber(json, "kind", fields.kind);
  putTime(json, "startTimeUnixNano", fields.startTime);
  putTime(json, "endTimeUnixNano", fields.endTime);
  putAttributes(json, bytes, fields.attributes, fields.droppedAttributes);
  if (fields.eventCount !== 0) json["events"] = eventsJson(bytes, fields);
  putNumber(json, "droppedEventsCount", fields.droppedEvents);
  if (fields.linkCount !== 0) json["links"] = linksJson(bytes, fields);
  putNumber(json, "droppedLinksCount", fields.droppedLinks);
  const status: JsonObject = {};
  putText(status, "message", bytes, fields.statusMessageStart, fields.statusMessageEnd);
  putNumber(status, "code", fields.statusCode);
  if (Object.keys(status).length !== 0) json["status"] = status;
  putNumber(json, "flags", fields.flags);
  return json;
}

function eventsJson(bytes: Uint8Array, fields: SpanFields): Json[] {
  const events: Json[] = [];
  for (let row = 0; row < fields.eventCount; row++) {
    readEvent(bytes, fields.eventStart[row]!, fields.eventEnd[row]!, eventFields);
    const event: JsonObject = {};
    putTime(event, "timeUnixNano", eventFields.time);
    putText(event, "name", bytes, eventFields.nameStart, eventFields.nameEnd);
    putAttributes(event, bytes, eventFields.attributes, eventFields.droppedAttributes);
    events.push(event);
  }
  return events;
}

function linksJson(bytes: Uint8Array, fields: SpanFields): Json[] {
  const links: Json[] = [];
  for (let row = 0; row < fields.linkCount; row++) {
    readLink(bytes, fields.linkStart[row]!, fields.linkEnd[row]!, linkFields);
    const link: JsonObject = {
      traceId: hex(bytes, linkFields.traceIdStart, linkFields.traceIdEnd),
      spanId: hex(bytes, linkFields.spanIdStart, linkFields.spanIdEnd),
    };
    putText(link, "traceState", bytes, linkFields.traceStateStart, linkFields.traceStateEnd);
    putAttributes(link, bytes, linkFields.attributes, linkFields.droppedAttributes);
    putNumber(link, "flags", linkFields.flags);
    links.push(link);
  }
  return links;
}

function putText(json: JsonObject, key: string, bytes: Uint8Array, start: number, end: number): void {
  if (start !== end) json[key] = text(bytes, start, end);
}

function putNumber(json: JsonObject, key: string, value: number): void {
  if (value !== 0) json[key] = value;
}

function putTime(json: JsonObject, key: string, value: bigint): void {
  if (value !== 0n) json[key] = String(value);
}

function putAttributes(json: JsonObject, bytes: Uint8Array, list: AttributeList, dropped: number): void {
  if (list.count !== 0) {
    const attributes: Json[] = [];
    for (let row = 0; row < list.count; row++) {
      const key = text(bytes, list.keyStart[row]!, list.keyEnd[row]!);
      const value = valueJson(bytes, list.kind[row]!, list.valueStart[row]!, list.valueEnd[row]!, 0);
      attributes.push({ key, value });
    }
    json["attributes"] = attributes;
  }
  putNumber(json, "droppedAttributesCount", dropped);
}

function valueJson(bytes: Uint8Array, kind: number, start: number, end: number, depth: number): JsonObject {
  switch (kind) {
    case ValueKind.String:
      return { stringValue: text(bytes, start, end) };
    case ValueKind.Bool:
      return { boolValue: uint64At(bytes, start, end) !== 0n };
    case ValueKind.Int:
      return { intValue: String(BigInt.asIntN(64, uint64At(bytes, start, end))) };
    case ValueKind.Double:
      return { doubleValue: doubleJson(doubleAt(bytes, start)) };
    case ValueKind.Array:
      return { arrayValue: { values: itemsJson(bytes, start, end, depth) } };
    case ValueKind.KvList:
      return { kvlistValue: { values: membersJson(bytes, start, end, depth) } };
    case ValueKind.Bytes:
      return { bytesValue: base64(bytes.subarray(start, end)) };
    default:
      return {};
  }
}

/** What JSON has no number for is a string, as in ProtoJSON; so is -0, which JSON.stringify would make 0. */
function doubleJson(value: number): number | string {
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? value : String(value);
}

function itemsJson(bytes: Uint8Array, start: number, end: number, depth: number): Json[] {
  const items: Json[] = [];
  eachNested(bytes, ValueKind.Array, start, end, depth, (slot) => {
    items.push(valueJson(bytes, slot.kind, slot.valueStart, slot.valueEnd, depth + 1));
  });
  return items;
}

function membersJson(bytes: Uint8Array, start: number, end: number, depth: number): Json[] {
  const members: Json[] = [];
  eachNested(bytes, ValueKind.KvList, start, end, depth, (slot) => {
    const key = text(bytes, slot.keyStart, slot.keyEnd);
    members.push({ key, value: valueJson(bytes, slot.kind, slot.valueStart, slot.valueEnd, depth + 1) });
  });
  return members;
}
