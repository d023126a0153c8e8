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
import { COLLECTOR_ONLY_ATTRIBUTES } from "@otel-audit/semantic-conventions";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ByteBuffer } from "./byte-buffer.ts";
import { LedgerError } from "./errors.ts";
import { decodeRow } from "./row-decode.ts";
import { RowEncoder } from "./row-encoder.ts";
import { COLUMNS, LIMITS, RowFlag, TYPED_COLUMNS } from "./row-format.ts";
import { SPAN } from "./testing/records.ts";
import { CLOSED, REFERENCE_FACTS, referenceRow, text } from "./testing/reference-row.ts";

const encoder = new RowEncoder();

function encodeRow(body: Uint8Array, resource: Attributes, scope: { name: string; version?: string }): Uint8Array {
  const index = scanTraces(frameSpans(resource, scope, [body]));
  expect(index.flags[0]! & SPAN_MALFORMED).toBe(0);
  const out = new ByteBuffer(16);
  encoder.begin(REFERENCE_FACTS);
  encoder.encode(out, index, 0);
  return out.bytes.subarray(0, out.length);
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
      expect(decoded(bytes)).toEqual(referenceRow(data, body, resource, scope));
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
      const { row } = decodeRow(encodeRow(encodeSpan({ ...SPAN, attributes }), {}, { name: "" }), 0);
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
      const map = decodeRow(encodeRow(encodeSpan({ ...SPAN, attributes }), {}, { name: "" }), 0).row["SpanAttributes"];
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
      encoder.begin(REFERENCE_FACTS);
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
