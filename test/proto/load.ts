import { fileURLToPath } from "node:url";
import { DoubleValue, type AttributeValue, type SpanData, type TracesData } from "@otel-audit/otlp";
import protobuf from "protobufjs";

const root = await protobuf.load(fileURLToPath(new URL("otlp-trace.proto", import.meta.url)));

/** The message types of otlp-trace.proto, as protobufjs has them. */
export const proto = {
  request: root.lookupType("otlp.Request"),
  response: root.lookupType("otlp.Response"),
  rpcStatus: root.lookupType("otlp.RpcStatus"),
  resource: root.lookupType("otlp.Resource"),
  span: root.lookupType("otlp.Span"),
};

// What protobufjs gives for `toObject` with `longs: String`; absent is absent.
interface ProtoValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: string;
  doubleValue?: number;
  arrayValue?: { values?: ProtoValue[] };
  kvlistValue?: { values?: ProtoKeyValue[] };
  bytesValue?: Uint8Array;
}
interface ProtoKeyValue {
  key?: string;
  value?: ProtoValue;
}
interface ProtoAttributed {
  attributes?: ProtoKeyValue[];
  droppedAttributesCount?: number;
}
interface ProtoLink extends ProtoAttributed {
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  traceState?: string;
  flags?: number;
}
interface ProtoSpan extends ProtoLink {
  parentSpanId?: Uint8Array;
  name?: string;
  kind?: number;
  startTimeUnixNano?: string;
  endTimeUnixNano?: string;
  events?: (ProtoAttributed & { timeUnixNano?: string; name?: string })[];
  droppedEventsCount?: number;
  links?: ProtoLink[];
  droppedLinksCount?: number;
  status?: { message?: string; code?: number };
}
interface ProtoRequest {
  resourceSpans?: {
    resource?: ProtoAttributed;
    schemaUrl?: string;
    scopeSpans?: {
      scope?: ProtoAttributed & { name?: string; version?: string };
      schemaUrl?: string;
      spans?: ProtoSpan[];
    }[];
  }[];
}

/** A request as protobufjs decodes it, in the shape of `decodeTraces`. */
export function decodeWithProtobufjs(bytes: Uint8Array): TracesData {
  const request = proto.request.toObject(proto.request.decode(bytes), { longs: String }) as ProtoRequest;
  return {
    resourceSpans: (request.resourceSpans ?? []).map(({ resource, scopeSpans, schemaUrl }) => ({
      ...(resource === undefined ? {} : { resource: attributed(resource) }),
      scopeSpans: (scopeSpans ?? []).map(({ scope, spans, schemaUrl }) => ({
        ...(scope === undefined
          ? {}
          : { scope: { name: scope.name ?? "", ...present({ version: scope.version }), ...attributed(scope) } }),
        spans: (spans ?? []).map(toSpan),
        ...present({ schemaUrl }),
      })),
      ...present({ schemaUrl }),
    })),
  };
}

/** A Span message body as protobufjs decodes it, in the shape of `decodeSpan`. */
export function decodeSpanWithProtobufjs(body: Uint8Array): SpanData {
  return toSpan(proto.span.toObject(proto.span.decode(body), { longs: String }) as ProtoSpan);
}

function toSpan(span: ProtoSpan): SpanData {
  const status = present({ code: span.status?.code, message: span.status?.message });
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    ...present({ parentSpanId: hex(span.parentSpanId), traceState: span.traceState }),
    name: span.name ?? "",
    ...present({ kind: span.kind, flags: span.flags }),
    startTimeUnixNano: BigInt(span.startTimeUnixNano ?? 0),
    endTimeUnixNano: BigInt(span.endTimeUnixNano ?? 0),
    ...attributed(span),
    ...(Object.keys(status).length === 0 ? {} : { status }),
    ...(span.events === undefined || span.events.length === 0
      ? {}
      : {
          events: span.events.map((event) => ({
            timeUnixNano: BigInt(event.timeUnixNano ?? 0),
            name: event.name ?? "",
            ...attributed(event),
          })),
        }),
    ...(span.links === undefined || span.links.length === 0
      ? {}
      : {
          links: span.links.map((link) => ({
            traceId: hex(link.traceId),
            spanId: hex(link.spanId),
            ...present({ traceState: link.traceState, flags: link.flags }),
            ...attributed(link),
          })),
        }),
    ...present({ droppedEventsCount: span.droppedEventsCount, droppedLinksCount: span.droppedLinksCount }),
  };
}

function attributed(message: ProtoAttributed) {
  const list = message.attributes ?? [];
  return {
    ...(list.length === 0 ? {} : { attributes: toRecord(list) }),
    ...present({ droppedAttributesCount: message.droppedAttributesCount }),
  };
}

function toRecord(list: readonly ProtoKeyValue[]): Record<string, AttributeValue> {
  const values = new Map<string, AttributeValue>();
  for (const { key = "", value } of list) if (!values.has(key)) values.set(key, toValue(value));
  return Object.fromEntries(values);
}

function toValue(value: ProtoValue | undefined): AttributeValue {
  if (value?.stringValue !== undefined) return value.stringValue;
  if (value?.boolValue !== undefined) return value.boolValue;
  if (value?.bytesValue !== undefined) return new Uint8Array(value.bytesValue);
  if (value?.intValue !== undefined) {
    return Number.isSafeInteger(Number(value.intValue)) ? Number(value.intValue) : BigInt(value.intValue);
  }
  if (value?.doubleValue !== undefined) {
    const plain = !Number.isSafeInteger(value.doubleValue) || Object.is(value.doubleValue, -0);
    return plain ? value.doubleValue : new DoubleValue(value.doubleValue);
  }
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(toValue);
  if (value?.kvlistValue !== undefined) return toRecord(value.kvlistValue.values ?? []);
  return null;
}

/** Leaves out what has proto3's default. */
function present<T extends Record<string, string | number | undefined>>(fields: T): Partial<T> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined && value !== "" && value !== 0);
  return Object.fromEntries(entries) as Partial<T>;
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : Buffer.from(bytes).toString("hex");
}
