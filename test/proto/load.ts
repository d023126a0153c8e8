import { fileURLToPath } from "node:url";
import { DoubleValue, type AttributeValue, type SpanData, type TracesData } from "@otel-audit/otlp";
import protobuf from "protobufjs";

const file = fileURLToPath(new URL("otlp-trace.proto", import.meta.url));
const root = await protobuf.load(file);

// The ledger keeps strings as the bytes that came, also when they are not UTF-8; protobufjs refuses those. As `bytes` it
// reads the same fields and leaves the letters to us.
const lenient = await protobuf.load(file);
const lenientRequest = lettersAsBytes(lenient.lookupType("otlp.Request"));
const lenientSpan = lettersAsBytes(lenient.lookupType("otlp.Span"));
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The message types of otlp-trace.proto, as protobufjs has them. */
export const proto = {
  request: root.lookupType("otlp.Request"),
  response: root.lookupType("otlp.Response"),
  rpcStatus: root.lookupType("otlp.RpcStatus"),
  retryInfo: root.lookupType("otlp.RetryInfo"),
  resource: root.lookupType("otlp.Resource"),
  span: root.lookupType("otlp.Span"),
};

// What protobufjs gives for `toObject` with `longs: String`: letters are bytes (see above), absent is absent.
type Letters = Uint8Array;
interface ProtoValue {
  stringValue?: Letters;
  boolValue?: boolean;
  intValue?: string;
  doubleValue?: number;
  arrayValue?: { values?: ProtoValue[] };
  kvlistValue?: { values?: ProtoKeyValue[] };
  bytesValue?: Uint8Array;
}
interface ProtoKeyValue {
  key?: Letters;
  value?: ProtoValue;
}
interface ProtoAttributed {
  attributes?: ProtoKeyValue[];
  droppedAttributesCount?: number;
}
interface ProtoLink extends ProtoAttributed {
  traceId?: Uint8Array;
  spanId?: Uint8Array;
  traceState?: Letters;
  flags?: number;
}
interface ProtoSpan extends ProtoLink {
  parentSpanId?: Uint8Array;
  name?: Letters;
  kind?: number;
  startTimeUnixNano?: string;
  endTimeUnixNano?: string;
  events?: (ProtoAttributed & { timeUnixNano?: string; name?: Letters })[];
  droppedEventsCount?: number;
  links?: ProtoLink[];
  droppedLinksCount?: number;
  status?: { message?: Letters; code?: number };
}
interface ProtoRequest {
  resourceSpans?: {
    resource?: ProtoAttributed;
    schemaUrl?: Letters;
    scopeSpans?: {
      scope?: ProtoAttributed & { name?: Letters; version?: Letters };
      schemaUrl?: Letters;
      spans?: ProtoSpan[];
    }[];
  }[];
}

/** A request as protobufjs decodes it, in the shape of `decodeTraces`. */
export function decodeWithProtobufjs(bytes: Uint8Array): TracesData {
  const request: ProtoRequest = lenientRequest.toObject(lenientRequest.decode(bytes), { longs: String });
  return {
    resourceSpans: (request.resourceSpans ?? []).map(({ resource, scopeSpans, schemaUrl }) => ({
      ...(resource === undefined ? {} : { resource: attributed(resource) }),
      scopeSpans: (scopeSpans ?? []).map(({ scope, spans, schemaUrl }) => ({
        ...(scope === undefined
          ? {}
          : { scope: { name: text(scope.name), ...present({ version: text(scope.version) }), ...attributed(scope) } }),
        spans: (spans ?? []).map(toSpan),
        ...present({ schemaUrl: text(schemaUrl) }),
      })),
      ...present({ schemaUrl: text(schemaUrl) }),
    })),
  };
}

/** A Span message body as protobufjs decodes it, in the shape of `decodeSpan`. */
export function decodeSpanWithProtobufjs(body: Uint8Array): SpanData {
  return toSpan(lenientSpan.toObject(lenientSpan.decode(body), { longs: String }));
}

function toSpan(span: ProtoSpan): SpanData {
  const status = present({ code: span.status?.code, message: text(span.status?.message) });
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    ...present({ parentSpanId: hex(span.parentSpanId), traceState: text(span.traceState) }),
    name: text(span.name),
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
            name: text(event.name),
            ...attributed(event),
          })),
        }),
    ...(span.links === undefined || span.links.length === 0
      ? {}
      : {
          links: span.links.map((link) => ({
            traceId: hex(link.traceId),
            spanId: hex(link.spanId),
            ...present({ traceState: text(link.traceState), flags: link.flags }),
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
  for (const { key, value } of list) if (!values.has(text(key))) values.set(text(key), toValue(value));
  return Object.fromEntries(values);
}

function toValue(value: ProtoValue | undefined): AttributeValue {
  if (value?.stringValue !== undefined) return text(value.stringValue);
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

/** Makes every string in the type and the types within a `bytes`. */
function lettersAsBytes(type: protobuf.Type, done = new Set<protobuf.Type>()): protobuf.Type {
  if (done.has(type)) return type;
  done.add(type);
  for (const field of type.fieldsArray) {
    field.resolve();
    if (field.type === "string") field.type = "bytes";
    else if (field.resolvedType instanceof protobuf.Type) lettersAsBytes(field.resolvedType, done);
  }
  return type;
}

/** Leaves out what has proto3's default. */
function present<T extends object>(fields: T): T {
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === "" || value === 0) Reflect.deleteProperty(fields, key);
  }
  return fields;
}

function text(letters: Letters | undefined): string {
  return letters === undefined ? "" : decoder.decode(letters);
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : Buffer.from(bytes).toString("hex");
}
