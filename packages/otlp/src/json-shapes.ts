// What OTLP/JSON calls the fields of each message (lowerCamelCase only), and how their values are written.

/** `tag` is the protobuf tag as a number: field << 3 | wire type. All but that of Span.flags take one byte. */
export type JsonField =
  | {
      readonly type: "string" | "hex" | "base64" | "bool" | "int64" | "enum" | "uint32" | "double";
      readonly tag: number;
    }
  | { readonly type: "fixed64" | "fixed32"; readonly tag: number }
  | { readonly type: "message" | "list"; readonly tag: number; readonly of: JsonMessage };

export interface JsonMessage {
  /** Around the spans: what is wrong here cannot be put down to one span, so it refuses the request. */
  readonly outer: boolean;
  /** Counts towards MAX_VALUE_DEPTH. */
  readonly nests: boolean;
  readonly fields: Map<string, JsonField>;
}

function inner(fields: Readonly<Record<string, JsonField>>): JsonMessage {
  return { outer: false, nests: false, fields: new Map(Object.entries(fields)) };
}

function outer(fields: Readonly<Record<string, JsonField>>): JsonMessage {
  return { outer: true, nests: false, fields: new Map(Object.entries(fields)) };
}

const ANY_VALUE = inner({
  stringValue: { type: "string", tag: 0x0a },
  boolValue: { type: "bool", tag: 0x10 },
  intValue: { type: "int64", tag: 0x18 },
  doubleValue: { type: "double", tag: 0x21 },
  bytesValue: { type: "base64", tag: 0x3a },
});
const KEY_VALUE = inner({
  key: { type: "string", tag: 0x0a },
  value: { type: "message", tag: 0x12, of: ANY_VALUE },
});
const ARRAY_VALUE: JsonMessage = {
  outer: false,
  nests: true,
  fields: new Map([["values", { type: "list", tag: 0x0a, of: ANY_VALUE }]]),
};
const KEY_VALUE_LIST: JsonMessage = {
  outer: false,
  nests: true,
  fields: new Map([["values", { type: "list", tag: 0x0a, of: KEY_VALUE }]]),
};
ANY_VALUE.fields.set("arrayValue", { type: "message", tag: 0x2a, of: ARRAY_VALUE });
ANY_VALUE.fields.set("kvlistValue", { type: "message", tag: 0x32, of: KEY_VALUE_LIST });

const EVENT = inner({
  timeUnixNano: { type: "fixed64", tag: 0x09 },
  name: { type: "string", tag: 0x12 },
  attributes: { type: "list", tag: 0x1a, of: KEY_VALUE },
  droppedAttributesCount: { type: "uint32", tag: 0x20 },
});
const LINK = inner({
  traceId: { type: "hex", tag: 0x0a },
  spanId: { type: "hex", tag: 0x12 },
  traceState: { type: "string", tag: 0x1a },
  attributes: { type: "list", tag: 0x22, of: KEY_VALUE },
  droppedAttributesCount: { type: "uint32", tag: 0x28 },
  flags: { type: "fixed32", tag: 0x35 },
});
const STATUS = inner({
  message: { type: "string", tag: 0x12 },
  code: { type: "enum", tag: 0x18 },
});
const SPAN = inner({
  traceId: { type: "hex", tag: 0x0a },
  spanId: { type: "hex", tag: 0x12 },
  traceState: { type: "string", tag: 0x1a },
  parentSpanId: { type: "hex", tag: 0x22 },
  name: { type: "string", tag: 0x2a },
  kind: { type: "enum", tag: 0x30 },
  startTimeUnixNano: { type: "fixed64", tag: 0x39 },
  endTimeUnixNano: { type: "fixed64", tag: 0x41 },
  attributes: { type: "list", tag: 0x4a, of: KEY_VALUE },
  droppedAttributesCount: { type: "uint32", tag: 0x50 },
  events: { type: "list", tag: 0x5a, of: EVENT },
  droppedEventsCount: { type: "uint32", tag: 0x60 },
  links: { type: "list", tag: 0x6a, of: LINK },
  droppedLinksCount: { type: "uint32", tag: 0x70 },
  status: { type: "message", tag: 0x7a, of: STATUS },
  flags: { type: "fixed32", tag: (16 << 3) | 5 },
});
const RESOURCE = inner({
  attributes: { type: "list", tag: 0x0a, of: KEY_VALUE },
  droppedAttributesCount: { type: "uint32", tag: 0x10 },
});
const SCOPE = inner({
  name: { type: "string", tag: 0x0a },
  version: { type: "string", tag: 0x12 },
  attributes: { type: "list", tag: 0x1a, of: KEY_VALUE },
  droppedAttributesCount: { type: "uint32", tag: 0x20 },
});
const SCOPE_SPANS = outer({
  scope: { type: "message", tag: 0x0a, of: SCOPE },
  spans: { type: "list", tag: 0x12, of: SPAN },
  schemaUrl: { type: "string", tag: 0x1a },
});
const RESOURCE_SPANS = outer({
  resource: { type: "message", tag: 0x0a, of: RESOURCE },
  scopeSpans: { type: "list", tag: 0x12, of: SCOPE_SPANS },
  schemaUrl: { type: "string", tag: 0x1a },
});

/** ExportTraceServiceRequest. */
export const REQUEST = outer({ resourceSpans: { type: "list", tag: 0x0a, of: RESOURCE_SPANS } });

/** All keys of all messages. */
export const KEYS: ReadonlySet<string> = keysOf(REQUEST, new Set(), new Set());

function keysOf(message: JsonMessage, keys: Set<string>, done: Set<JsonMessage>): Set<string> {
  if (done.has(message)) return keys;
  done.add(message);
  for (const [key, field] of message.fields) {
    keys.add(key);
    if (field.type === "message" || field.type === "list") keysOf(field.of, keys, done);
  }
  return keys;
}
