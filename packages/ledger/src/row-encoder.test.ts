import { createHash } from "node:crypto";
import {
  type Attributes,
  type AttributeValue,
  DoubleValue,
  OtlpError,
  SPAN_MALFORMED,
  type SpanData,
  encodeSpan,
  frameSpans,
  scanTraces,
} from "@otel-audit/otlp";
import {
  AUDIT_ACTION_VALUES,
  AUDIT_OUTCOME_VALUES,
  AUDIT_POLICY_DECISION_VALUES,
  AUDIT_POLICY_ENFORCEMENT_VALUES,
  COLLECTOR_ONLY_ATTRIBUTES,
} from "@otel-audit/semantic-conventions";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ByteBuffer } from "./byte-buffer.ts";
import { decodeRow } from "./row-decode.ts";
import { LedgerError } from "./errors.ts";
import { RowEncoder } from "./row-encoder.ts";
import { COLUMNS, LIMITS, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import type { CollectorFacts } from "./types.ts";

/*
 * The row of a span, written a second time from JavaScript objects, for spans within the limits. Slow and simple, and
 * with no line in common with the encoder.
 */

const FACTS: CollectorFacts = { provenance: "asserted", principal: "someone", tenantId: "acme" };
const IDS = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "n",
  startTimeUnixNano: 1n,
  endTimeUnixNano: 2n,
};
const MAX = 0x7fff_ffff_ffff_ffffn;
const encoder = new RowEncoder();
/** Columns whose values are the vocabulary's; all but the first may be empty. */
const CLOSED: Readonly<Record<string, readonly string[]>> = {
  Action: AUDIT_ACTION_VALUES,
  Outcome: [...AUDIT_OUTCOME_VALUES, ""],
  PolicyDecision: [...AUDIT_POLICY_DECISION_VALUES, ""],
  PolicyEnforcement: [...AUDIT_POLICY_ENFORCEMENT_VALUES, ""],
};

function encodeRow(body: Uint8Array, resource: Attributes, scope: { name: string; version?: string }): Uint8Array {
  const index = scanTraces(frameSpans(resource, scope, [body]));
  expect(index.flags[0]! & SPAN_MALFORMED).toBe(0);
  const out = new ByteBuffer(16);
  encoder.begin(FACTS);
  encoder.encode(out, index, 0);
  return out.bytes.subarray(0, out.length);
}

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

function text(value: AttributeValue): string {
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

function reference(span: SpanData, body: Uint8Array, resource: Attributes, scope: { name: string; version?: string }) {
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

function entriesOf(map: unknown): [string, unknown][] {
  return typeof map === "object" && map !== null ? Object.entries(map) : [];
}

/** Maps as entries, so that the order of keys is compared too. */
function decoded(bytes: Uint8Array): Record<string, unknown> {
  const { row, end } = decodeRow(bytes, 0);
  expect(end).toBe(bytes.length);
  const result: Record<string, unknown> = {};
  for (const { name, type } of COLUMNS) {
    const value = row[name];
    if (type.startsWith("Map")) result[name] = entriesOf(value);
    else if (type.startsWith("Array(Map")) result[name] = Array.isArray(value) ? value.map(entriesOf) : value;
    else result[name] = value;
  }
  return result;
}

const string = fc
  .oneof(fc.string({ maxLength: 20 }), fc.string({ unit: "binary", maxLength: 20 }), fc.constant(""))
  .map((value) => value.toWellFormed());
const value: fc.Arbitrary<AttributeValue> = fc.letrec<{ value: AttributeValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    string,
    fc.boolean(),
    fc.integer(),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
    fc.double(),
    fc.integer().map((n) => new DoubleValue(n)),
    fc.uint8Array({ maxLength: 12 }),
    fc.constant(null),
    fc.array(string, { maxLength: 4 }),
    fc.array(tie("value"), { maxLength: 4 }),
    // A JS object puts keys that look like numbers first; the order on the wire is the object's either way.
    fc.dictionary(string, tie("value"), { maxKeys: 4 }),
  ),
})).value;
const key = fc.oneof(
  string.filter((name) => !/^(0|[1-9]\d*)$/.test(name) && name !== "__proto__"),
  fc.constantFrom(...TYPED_COLUMNS.map(({ attribute }) => attribute)),
  fc.constantFrom(
    ...COLLECTOR_ONLY_ATTRIBUTES,
    "audit.truncated.x",
    "audit.raw.y",
    "span:a",
    "resource:b",
    "service.name",
  ),
);
const attributes: fc.Arbitrary<Attributes> = fc.array(fc.tuple(key, value), { maxLength: 30 }).map(Object.fromEntries);
const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes).toString("hex"));
const someId = (length: number): fc.Arbitrary<string> => hex(length).filter((text) => !/^0*$/.test(text));
const time = fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(1_700_000_000_000_000_000n, 1_700_000_000_000_000_100n));
const span: fc.Arbitrary<SpanData> = fc.record(
  {
    traceId: someId(16),
    spanId: someId(8),
    parentSpanId: hex(8),
    traceState: string,
    name: string,
    kind: fc.integer({ min: 0, max: 7 }),
    startTimeUnixNano: time,
    endTimeUnixNano: time,
    attributes,
    events: fc.array(fc.record({ timeUnixNano: time, name: string, attributes }), { maxLength: 3 }),
    links: fc.array(fc.record({ traceId: hex(16), spanId: hex(8), traceState: string, attributes }), { maxLength: 3 }),
    status: fc.record({ code: fc.integer({ min: 0, max: 4 }), message: string }),
  },
  { requiredKeys: ["traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano"] },
);

test("the decoded row equals the reference, over random spans", () => {
  const scopes = fc.record({ name: string, version: string });
  fc.assert(
    fc.property(span, attributes, scopes, (data, resource, scope) => {
      // The reference does not cut: row-limits.test.ts does.
      fc.pre(TYPED_COLUMNS.every(({ attribute, max }) => text(data.attributes?.[attribute] ?? "").length <= max));
      const body = encodeSpan(data);
      const bytes = encodeRow(body, resource, scope);
      expect(bytes.length).toBeLessThanOrEqual(LIMITS.record);
      expect(decoded(bytes)).toEqual(reference(data, body, resource, scope));
    }),
    { numRuns: 600 },
  );
});

test.each(Object.entries(CLOSED))(
  "a value of %s that the vocabulary does not have is stored, and flagged",
  (column, values) => {
    const { attribute } = TYPED_COLUMNS.find((typed) => typed.column === column)!;
    const known = new Set<string>(values);
    const words = values.flatMap((word) => [
      word,
      word.toLowerCase(),
      word.toUpperCase(),
      `${word}x`,
      word.slice(0, -1),
    ]);
    for (const word of [...words, "BOGUS", "\u0100READ"]) {
      const attributes = { "audit.action": "READ", [attribute]: word };
      const { row } = decodeRow(encodeRow(encodeSpan({ ...IDS, attributes }), {}, { name: "" }), 0);
      const flagged = (Number(row["Flags"]) & RowFlag.UnknownValue) !== 0;
      expect({ word, stored: row[column], flagged }).toEqual({ word, stored: word, flagged: !known.has(word) });
    }
  },
);

test("maps of every size are sorted by unsigned bytes", () => {
  const keys = fc.uniqueArray(fc.string({ unit: "binary", minLength: 1, maxLength: 6 }), {
    minLength: 20,
    maxLength: 256,
  });
  fc.assert(
    fc.property(keys, (names) => {
      const attributes = Object.fromEntries(names.map((name) => [`k${name.toWellFormed()}`, "v"]));
      const map = decodeRow(encodeRow(encodeSpan({ ...IDS, attributes }), {}, { name: "" }), 0).row["SpanAttributes"];
      const found = entriesOf(map).map(([name]) => name);
      expect(found).toEqual(Object.keys(attributes).toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b))));
    }),
    { numRuns: 60 },
  );
});

test("arbitrary bytes as a span: an error or a whole row within the limit, never anything else", () => {
  const good = span.map((data) => encodeSpan(data));
  const damaged = fc.tuple(good, fc.nat(400), fc.uint8Array({ maxLength: 8 })).map(([body, at, bytes]) => {
    const broken = Buffer.from(body);
    broken.set(bytes.subarray(0, Math.max(0, broken.length - at)), Math.min(at, broken.length));
    return broken;
  });
  let rows = 0;
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (body) => {
      const index = scanTraces(frameSpans({}, { name: "s" }, [body]));
      const out = new ByteBuffer(16);
      out.asciiString("before");
      const before = out.length;
      encoder.begin(FACTS);
      let error: unknown;
      try {
        encoder.encode(out, index, 0);
      } catch (thrown) {
        error = thrown;
      }
      if (error === undefined) {
        rows++;
        return decodeRow(out.bytes, before).end === out.length && out.length - before <= LIMITS.record;
      }
      return error instanceof OtlpError || error instanceof LedgerError;
    }),
    { numRuns: 1500 },
  );
  expect(rows).toBeGreaterThan(100);
});
