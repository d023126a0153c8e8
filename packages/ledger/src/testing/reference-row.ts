import { createHash } from "node:crypto";
import { type Attributes, type AttributeValue, DoubleValue, type SpanData } from "@otel-audit/otlp";
import {
  AUDIT_ACTION_VALUES,
  AUDIT_OUTCOME_VALUES,
  AUDIT_POLICY_DECISION_VALUES,
  AUDIT_POLICY_ENFORCEMENT_VALUES,
  COLLECTOR_ONLY_ATTRIBUTES,
} from "@otel-audit/semantic-conventions";
import { RowFlag, TYPED_COLUMNS } from "../row-format.ts";
import type { CollectorFacts } from "../types.ts";

const MAX = 0x7fff_ffff_ffff_ffffn;
/** Columns whose values are the vocabulary's; all but the first may be empty. */
export const CLOSED: Readonly<Record<string, readonly string[]>> = {
  Action: AUDIT_ACTION_VALUES,
  Outcome: [...AUDIT_OUTCOME_VALUES, ""],
  PolicyDecision: [...AUDIT_POLICY_DECISION_VALUES, ""],
  PolicyEnforcement: [...AUDIT_POLICY_ENFORCEMENT_VALUES, ""],
};

function kindOf(value: AttributeValue): string {
  if (value === null) return "absent";
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint") return "int";
  if (typeof value === "number") return Number.isSafeInteger(value) && !Object.is(value, -0) ? "int" : "double";
  if (value instanceof DoubleValue) return "double";
  if (value instanceof Uint8Array) return "bytes";
  return Array.isArray(value) ? "array" : "kvlist";
}

function number(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function json(value: AttributeValue): string {
  if (value === null) return "null";
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString("base64"));
  if (typeof value === "number") return Number.isFinite(value) ? number(value) : `"${value}"`;
  if (value instanceof DoubleValue) return number(value.value);
  if (Array.isArray(value)) return `[${value.map((item: AttributeValue) => json(item)).join(",")}]`;
  if (typeof value !== "object") return String(value);
  const members = Object.entries(value).toSorted(([a], [b]) => Buffer.from(a).compare(Buffer.from(b)));
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${json(item)}`).join(",")}}`;
}

/** As a map of attributes has it. */
export function text(value: AttributeValue): string {
  if (value === null) return "";
  if (typeof value === "string") return value;
  if (typeof value === "number") return number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return json(value);
}

function sorted(entries: readonly (readonly [string, string])[]): [string, string][] {
  return entries
    .map(([key, value]): [string, string] => [key, value])
    .toSorted(([a], [b]) => Buffer.from(a).compare(Buffer.from(b)));
}

class Reference {
  flags = 0;
  readonly types: [string, string][] = [];
  readonly extras: [string, string][] = [];

  attributes(
    attributes: Attributes | undefined,
    qualifier: string,
    leaveOut: readonly string[] = [],
  ): [string, string][] {
    const entries: [string, string][] = [];
    for (const [key, value] of Object.entries(attributes ?? {})) {
      if (leaveOut.includes(key)) continue;
      if (COLLECTOR_ONLY_ATTRIBUTES.includes(key) || /^audit\.(truncated|raw)\./.test(key)) {
        this.flags |= RowFlag.CollectorAttributeStripped;
        continue;
      }
      entries.push([key, text(value)]);
      const reserved = qualifier === "" && /^(span|resource|scope|event|link|column|record):/.test(key);
      if (typeof value !== "string") this.types.push([(reserved ? "span:" : qualifier) + key, kindOf(value)]);
    }
    return sorted(entries);
  }

  time(name: string, value: bigint): bigint {
    if (value <= MAX) return value;
    this.flags |= RowFlag.TimeClamped;
    this.extras.push([`audit.raw.${name}`, String(value)]);
    return MAX;
  }

  typed(span: SpanData): Record<string, string | string[]> {
    const columns: Record<string, string | string[]> = {};
    for (const { attribute, column, entries } of TYPED_COLUMNS) {
      const value = span.attributes?.[attribute];
      const strings = Array.isArray(value) && value.every((item) => typeof item === "string");
      if (value === undefined || value === null) columns[column] = entries === undefined ? "" : [];
      else if (entries === undefined) columns[column] = text(value);
      else columns[column] = strings ? [...value] : [text(value)];
      if (value === "" && entries === undefined) this.types.push([attribute, "empty"]);
      else if (entries !== undefined && strings && value.length === 0) this.types.push([attribute, "empty"]);
      else if (value !== undefined && !(entries === undefined ? typeof value === "string" : strings)) {
        this.types.push([attribute, kindOf(value)]);
      }
    }
    return columns;
  }

  duration(span: SpanData): bigint {
    const { startTimeUnixNano: start, endTimeUnixNano: end } = span;
    if (end < start) {
      this.flags |= RowFlag.NegativeDuration;
      this.extras.push(["audit.raw.end_time_unix_nano", String(end)]);
      return 0n;
    }
    this.time("end_time_unix_nano", end);
    return end - start;
  }
}

function id(hex: string | undefined): string {
  return hex === undefined || /^0*$/.test(hex) ? "" : hex;
}

/** What the collector knows of the sender of a reference row. */
export const REFERENCE_FACTS: CollectorFacts = { provenance: "asserted", principal: "someone", tenantId: "acme" };

/**
 * The row of a span, written a second time from JavaScript objects, for spans within the limits. Slow and simple, and
 * with no line in common with the encoder.
 */
export function referenceRow(
  span: SpanData,
  body: Uint8Array,
  resource: Attributes,
  scope: { name: string; version?: string },
) {
  const r = new Reference();
  const typed = r.typed(span);
  const resourceAttributes = r.attributes(resource, "resource:");
  const attributes = r.attributes(
    span.attributes,
    "",
    TYPED_COLUMNS.map(({ attribute }) => attribute),
  );
  const timestamp = r.time("start_time_unix_nano", span.startTimeUnixNano);
  const duration = r.duration(span);
  const events = span.events ?? [];
  const links = span.links ?? [];
  if (typed["RecordId"] === "") {
    r.flags |= RowFlag.DerivedRecordId;
    const start = Buffer.alloc(8);
    start.writeBigUInt64LE(span.startTimeUnixNano);
    const source = Buffer.concat([Buffer.from(span.traceId, "hex"), Buffer.from(span.spanId, "hex"), start]);
    typed["RecordId"] = createHash("sha256").update(source).digest("hex").slice(0, 32);
  }
  if (Object.entries(CLOSED).some(([column, values]) => !values.includes(String(typed[column]))))
    r.flags |= RowFlag.UnknownValue;
  if (typed["Origin"] === "classified") r.flags |= RowFlag.CollectorAttributeStripped;
  if (typed["Origin"] !== "effect") typed["Origin"] = "reported";
  const eventTimes = events.map((event, i) => r.time(`event:${i}:time_unix_nano`, event.timeUnixNano));
  const row = {
    RowFormat: 1,
    StreamId: "00000000-0000-0000-0000-000000000000",
    Sequence: 0n,
    ReceivedAt: 0n,
    ContentHash: createHash("sha256").update(body).digest("hex").slice(0, 32),
    Timestamp: timestamp,
    TraceId: id(span.traceId),
    SpanId: id(span.spanId),
    ParentSpanId: id(span.parentSpanId),
    TraceState: span.traceState ?? "",
    SpanName: span.name,
    SpanKind:
      ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"][span.kind ?? 0] ?? String(span.kind),
    ServiceName: text(resource["service.name"] ?? ""),
    ResourceAttributes: resourceAttributes,
    ScopeName: scope.name,
    ScopeVersion: scope.version ?? "",
    ScopeAttributes: [],
    SpanAttributes: sorted([...attributes, ...r.extras]),
    Duration: duration,
    StatusCode: ["Unset", "Ok", "Error"][span.status?.code ?? 0] ?? String(span.status?.code),
    StatusMessage: span.status?.message ?? "",
    "Events.Timestamp": eventTimes,
    "Events.Name": events.map(({ name }) => name),
    "Events.Attributes": events.map((event, i) => r.attributes(event.attributes, `event:${i}:`)),
    "Links.TraceId": links.map(({ traceId }) => id(traceId)),
    "Links.SpanId": links.map(({ spanId }) => id(spanId)),
    "Links.TraceState": links.map(({ traceState }) => traceState ?? ""),
    "Links.Attributes": links.map((link, i) => r.attributes(link.attributes, `link:${i}:`)),
    ...typed,
    Principal: "someone",
    Provenance: typed["ActorId"] === "" ? "unattributed" : "asserted",
    TenantId: "acme",
    CollectorDecision: "",
    CollectorPolicyId: "",
    CollectorPolicyVersion: "",
    CollectorPolicyRule: "",
    CollectorPolicyReason: "",
    AttributeTypes: sorted(r.types),
    Flags: r.flags,
  };
  return row;
}
