import type { Attributes } from "./value.ts";

/** A span as a JavaScript object. Decoding leaves out whatever has its default (absent, 0, empty). */
export interface SpanData {
  /** 32 hexadecimal digits, not all zero. */
  traceId: string;
  /** 16 hexadecimal digits, not all zero. */
  spanId: string;
  /** 16 hexadecimal digits; absent for a root span. */
  parentSpanId?: string | undefined;
  traceState?: string | undefined;
  name: string;
  /** 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer. Default 0. */
  kind?: number | undefined;
  /** Nanoseconds since 1970, unsigned 64 bit. */
  startTimeUnixNano: bigint;
  /** Nanoseconds since 1970, unsigned 64 bit. */
  endTimeUnixNano: bigint;
  attributes?: Attributes | undefined;
  droppedAttributesCount?: number | undefined;
  events?: readonly EventData[] | undefined;
  droppedEventsCount?: number | undefined;
  links?: readonly LinkData[] | undefined;
  droppedLinksCount?: number | undefined;
  /** Code 0 unset, 1 ok, 2 error. */
  status?: { code?: number | undefined; message?: string | undefined } | undefined;
  /** W3C trace flags in the low 8 bits, OTLP's remote flags above. Default 0. */
  flags?: number | undefined;
}

export interface EventData {
  /** Nanoseconds since 1970, unsigned 64 bit. */
  timeUnixNano: bigint;
  name: string;
  attributes?: Attributes | undefined;
  droppedAttributesCount?: number | undefined;
}

export interface LinkData {
  /** 32 hexadecimal digits, or empty. */
  traceId: string;
  /** 16 hexadecimal digits, or empty. */
  spanId: string;
  traceState?: string | undefined;
  attributes?: Attributes | undefined;
  droppedAttributesCount?: number | undefined;
  flags?: number | undefined;
}

export interface ResourceData {
  attributes?: Attributes | undefined;
  droppedAttributesCount?: number | undefined;
}

export interface ScopeData {
  name: string;
  version?: string | undefined;
  attributes?: Attributes | undefined;
  droppedAttributesCount?: number | undefined;
}

export interface ScopeSpansData {
  scope?: ScopeData | undefined;
  spans: readonly SpanData[];
  schemaUrl?: string | undefined;
}

export interface ResourceSpansData {
  resource?: ResourceData | undefined;
  scopeSpans: readonly ScopeSpansData[];
  schemaUrl?: string | undefined;
}

/** An ExportTraceServiceRequest as JavaScript objects: for tests, examples and the command line, not for the collector. */
export interface TracesData {
  resourceSpans: readonly ResourceSpansData[];
}
