export { scanTraces } from "./scan.ts";
export { MAX_SPANS, SPAN_AUDIT, SPAN_MALFORMED, SpanIndex } from "./span-index.ts";
export { sliceSpans } from "./slice.ts";
export { readEvent, readLink, readResource, readScope, readSpan } from "./read.ts";
export { readAnyValue, readAttributes } from "./read-value.ts";
export { EventFields, LinkFields, ScopeFields, SpanFields } from "./fields.ts";
export { AttributeList, MAX_VALUE_DEPTH, ValueKind } from "./attributes.ts";
export { encodeAttribute, encodeSpan, encodeTraces, frameSpans } from "./encode.ts";
export { decodeSpan, decodeTraces } from "./decode.ts";
export { decodePartialSuccess, encodePartialSuccess, encodeStatus, statusToJson } from "./response.ts";
export { type JsonLimits, jsonToProtobuf } from "./json-to-protobuf.ts";
export { protobufToJson } from "./json-write.ts";
export { countItems } from "./count.ts";
export { type Attributes, type AttributeValue, DoubleValue } from "./value.ts";
export type {
  EventData,
  LinkData,
  ResourceData,
  ResourceSpansData,
  ScopeData,
  ScopeSpansData,
  SpanData,
  TracesData,
} from "./data.ts";
export { OtlpError, type OtlpErrorCode } from "./errors.ts";
