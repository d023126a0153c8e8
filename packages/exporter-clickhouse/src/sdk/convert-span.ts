import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import type { Attributes, AttributeValue, SpanData } from "@otel-audit/otlp";

type HrTime = ReadableSpan["startTime"];

/** OTLP's span flags beside the W3C trace flags: whether it is known that the parent is remote, and whether it is. */
const HAS_IS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

/** The SDK's span as OTLP has it. Both SDK lines (2.x and 3.x) have this shape. */
export function toSpanData(span: ReadableSpan): SpanData {
  const context = span.spanContext();
  const parent = span.parentSpanContext;
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    parentSpanId: parent?.spanId,
    traceState: context.traceState?.serialize(),
    name: span.name,
    // The API counts from INTERNAL = 0, OTLP from UNSPECIFIED = 0.
    kind: span.kind + 1,
    startTimeUnixNano: nanoseconds(span.startTime),
    endTimeUnixNano: nanoseconds(span.endTime),
    attributes: toAttributes(span.attributes),
    droppedAttributesCount: span.droppedAttributesCount,
    events: span.events.map((event) => ({
      timeUnixNano: nanoseconds(event.time),
      name: event.name,
      attributes: toAttributes(event.attributes ?? {}),
      droppedAttributesCount: event.droppedAttributesCount,
    })),
    droppedEventsCount: span.droppedEventsCount,
    links: span.links.map((link) => ({
      traceId: link.context.traceId,
      spanId: link.context.spanId,
      traceState: link.context.traceState?.serialize(),
      attributes: toAttributes(link.attributes ?? {}),
      droppedAttributesCount: link.droppedAttributesCount,
    })),
    droppedLinksCount: span.droppedLinksCount,
    status: { code: span.status.code, message: span.status.message },
    flags: context.traceFlags | HAS_IS_REMOTE | (parent?.isRemote === true ? IS_REMOTE : 0),
  };
}

/** Attributes of a span or a resource; what is undefined is left out. */
export function toAttributes(attributes: Readonly<Record<string, unknown>>): Attributes {
  const converted: Record<string, AttributeValue> = {};
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) converted[key] = toValue(value);
  }
  return converted;
}

function toValue(value: unknown): AttributeValue {
  if (value === null || value === undefined) return null;
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return value;
  if (typeof value === "bigint") return value;
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(toValue);
  if (typeof value === "object") return toAttributes({ ...value });
  // Functions and symbols: the API forbids them, and they have no value to keep.
  return null;
}

function nanoseconds([seconds, nanos]: HrTime): bigint {
  const time = BigInt(Math.trunc(seconds)) * 1_000_000_000n + BigInt(Math.trunc(nanos));
  return time < 0n ? 0n : time;
}
