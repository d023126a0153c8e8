import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Session } from "chdb";
import { DoubleValue, encodeTraces, OtlpError } from "@otel-audit/otlp";
import type { AttributeValue, SpanData } from "@otel-audit/otlp";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { transposeToNative } from "../native/transpose.ts";
import { schemaStatements } from "../schema.ts";
import { TRACE_COLUMNS } from "./columns.ts";
import { TraceRows } from "./trace-rows.ts";

let dir: string;
let session: Session;

beforeAll(() => {
  dir = tempDir("traces");
  session = new Session(join(dir, "db"));
  for (const statement of schemaStatements()) session.query(statement);
});

afterAll(() => {
  session.close();
});

const TRACE = "0123456789abcdef0123456789abcdef";
const SPAN: SpanData = {
  traceId: TRACE,
  spanId: "00000000000000aa",
  name: "GET /orders",
  startTimeUnixNano: 1_795_000_000_123_456_789n,
  endTimeUnixNano: 1_795_000_000_123_457_789n,
};

/** Inserts spans of one service the way the writer does and reads back what the table holds. */
function store(spans: readonly SpanData[], resource: Record<string, AttributeValue> = {}): Record<string, unknown>[] {
  session.query("TRUNCATE TABLE otel_audit.otel_traces");
  const request = encodeTraces({
    resourceSpans: [
      { resource: { attributes: resource }, scopeSpans: [{ scope: { name: "lib", version: "1.2" }, spans }] },
    ],
  });
  const { rows, offsets } = new TraceRows().encode(request);
  const file = join(dir, "block.native");
  writeFileSync(file, transposeToNative(rows, offsets, TRACE_COLUMNS));
  const structure = TRACE_COLUMNS.map(({ name, type }) => `\`${name}\` ${type}`).join(", ");
  session.query(`INSERT INTO otel_audit.otel_traces SELECT * FROM file('${file}', Native, '${structure}')`);
  const text = session.query("SELECT * FROM otel_audit.otel_traces ORDER BY SpanId", "JSONEachRow").trim();
  return text === "" ? [] : text.split("\n").map((line): Record<string, unknown> => JSON.parse(line));
}

test("a whole span, as upstream's exporter writes it", () => {
  const [row] = store(
    [
      {
        ...SPAN,
        parentSpanId: "00000000000000bb",
        traceState: "a=b",
        kind: 3,
        attributes: { "http.request.method": "GET", "http.response.status_code": 200 },
        status: { code: 2, message: "boom" },
        events: [
          { timeUnixNano: 1_795_000_000_000_000_000n, name: "exception", attributes: { "exception.type": "E" } },
        ],
        links: [{ traceId: TRACE, spanId: "00000000000000cc", traceState: "c=d", attributes: { k: true } }],
      },
    ],
    { "service.name": "shop", "process.pid": 7 },
  );
  expect(row).toEqual({
    Timestamp: "2026-11-18 11:06:40.123456789",
    TraceId: TRACE,
    SpanId: "00000000000000aa",
    ParentSpanId: "00000000000000bb",
    TraceState: "a=b",
    SpanName: "GET /orders",
    SpanKind: "Client",
    ServiceName: "shop",
    ResourceAttributes: { "service.name": "shop", "process.pid": "7" },
    ScopeName: "lib",
    ScopeVersion: "1.2",
    SpanAttributes: { "http.request.method": "GET", "http.response.status_code": "200" },
    Duration: 1000,
    StatusCode: "Error",
    StatusMessage: "boom",
    "Events.Timestamp": ["2026-11-18 11:06:40.000000000"],
    "Events.Name": ["exception"],
    "Events.Attributes": [{ "exception.type": "E" }],
    "Links.TraceId": [TRACE],
    "Links.SpanId": ["00000000000000cc"],
    "Links.TraceState": ["c=d"],
    "Links.Attributes": [{ k: "true" }],
  });
  expect(session.query("SELECT TraceId FROM otel_audit.otel_traces_trace_id_ts", "CSV").trim()).toBe(`"${TRACE}"`);
});

test.each<[string, AttributeValue, string]>([
  ["an unset value", null, ""],
  ["a boolean", false, "false"],
  ["an integer beyond 2^53", 9_007_199_254_740_993n, "9007199254740993"],
  ["a double", 0.1, "0.1"],
  ["a whole double", new DoubleValue(3), "3"],
  ["a large double", 1e21, "1e+21"],
  ["a small double", 1e-7, "1e-7"],
  ["negative zero", -0, "-0"],
  ["NaN", Number.NaN, "json: unsupported value: NaN"],
  ["infinity", -Infinity, "json: unsupported value: -Inf"],
  ["bytes", Uint8Array.of(1, 2, 255), "AQL/"],
  ["an array", ["a", 1, 0.5, true, null], '["a",1,0.5,true,null]'],
  ["a map, keys sorted", { b: 1, a: { c: [] } }, '{"a":{"c":[]},"b":1}'],
  ["what Go escapes in JSON", ["<a&b>", "\u2028\n\u0001"], '["\\u003ca\\u0026b\\u003e","\\u2028\\n\\u0001"]'],
  ["a NaN inside", [Number.NaN], ""],
  ["bytes inside", [Uint8Array.of(1)], '["AQ=="]'],
])("%s as text", (_, value, text) => {
  const [row] = store([{ ...SPAN, attributes: { key: value } }]);
  expect(row?.["SpanAttributes"]).toEqual({ key: text });
});

test("absent parts, numbers outside the enums and an end before the start", () => {
  const [row] = store([{ ...SPAN, kind: 9, status: { code: 7 }, endTimeUnixNano: 1n }]);
  expect(row).toMatchObject({ SpanKind: "", StatusCode: "", Duration: 0, ServiceName: "", ParentSpanId: "" });
  expect(store([SPAN])[0]).toMatchObject({ SpanKind: "Unspecified", StatusCode: "Unset" });
});

test("any bytes give rows or our own error", () => {
  const rows = new TraceRows();
  const request = encodeTraces({
    resourceSpans: [
      {
        scopeSpans: [
          {
            spans: [
              {
                ...SPAN,
                attributes: { a: ["b", { c: 1 }] },
                events: [{ timeUnixNano: 1n, name: "e", attributes: { k: "v" } }],
              },
            ],
          },
        ],
      },
    ],
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(request.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
      const broken = Uint8Array.from(request);
      for (const [at, byte] of changes) broken[at] = byte;
      let encoded: ReturnType<TraceRows["encode"]>;
      try {
        encoded = rows.encode(broken);
      } catch (error) {
        if (error instanceof OtlpError) return;
        throw error;
      }
      // What was encoded is what the transposer takes: no half rows.
      const block = transposeToNative(encoded.rows, encoded.offsets, TRACE_COLUMNS);
      expect(block[1]).toBeLessThanOrEqual(1);
    }),
    { numRuns: 2000 },
  );
});
