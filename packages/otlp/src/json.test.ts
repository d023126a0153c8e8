import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { TracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { request } from "../../../test/proto/random-traces.ts";
import { MAX_VALUE_DEPTH } from "./attributes.ts";
import type { SpanData } from "./data.ts";
import { decodeTraces } from "./decode.ts";
import { OtlpError } from "./errors.ts";
import { jsonToProtobuf } from "./json-to-protobuf.ts";
import { protobufToJson } from "./json-write.ts";
import { scanTraces } from "./scan.ts";
import { SPAN_AUDIT, SPAN_MALFORMED } from "./span-index.ts";
import { DoubleValue } from "./value.ts";

const ids = { traceId: "0AF7651916CD43DD8448EB211C80319C", spanId: "b7ad6b7169203331" };

function convert(text: string): Uint8Array {
  return jsonToProtobuf(Buffer.from(text));
}

/** A request with one scope of these spans, given as JSON text. */
function framed(...spans: string[]): string {
  return `{"resourceSpans":[{"scopeSpans":[{"spans":[${spans.join(",")}]}]}]}`;
}

function decodeSpanJson(fields: string): SpanData {
  const text = framed(`{"traceId":"${ids.traceId}","spanId":"${ids.spanId}",${fields}}`);
  return decodeTraces(convert(text)).resourceSpans[0]!.scopeSpans[0]!.spans[0]!;
}

function attributeJson(value: string): unknown {
  return decodeSpanJson(`"attributes":[{"key":"k","value":${value}}]`).attributes?.["k"];
}

function flagsOf(...spans: string[]): number[] {
  const index = scanTraces(convert(framed(...spans)));
  return [...index.flags.subarray(0, index.count)];
}

function problem(text: string | Uint8Array, limits?: { maxBytes?: number; maxDepth?: number }): OtlpError {
  try {
    jsonToProtobuf(typeof text === "string" ? Buffer.from(text) : text, limits);
  } catch (error) {
    if (error instanceof OtlpError) return error;
    throw error;
  }
  throw new Error(`not refused: ${String(text)}`);
}

/** The message of the INVALID_JSON error. */
function whereOf(text: string): string {
  const error = problem(text);
  return error.code === "INVALID_JSON" ? error.message : error.code;
}

/** A span with an attribute nested this deep. */
function nested(levels: number, open: string, close: string): string {
  const value = `${open.repeat(levels)}{}${close.repeat(levels)}`;
  return `{"traceId":"${ids.traceId}","spanId":"${ids.spanId}","attributes":[{"key":"k","value":${value}}]}`;
}

const PIECES = Array.from('{}[]",:\\/untrfalse 0123.eE+-\n\t\u0001ü');
const OUTCOMES = /^(scanned|INVALID_JSON)$/;

function outcomeOf(json: Uint8Array): string {
  try {
    scanTraces(jsonToProtobuf(json));
    return "scanned";
  } catch (error) {
    if (error instanceof OtlpError) return error.code;
    throw error;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("jsonToProtobuf", () => {
  test("every field", () => {
    const text = `\u{feff} {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}],
      "droppedAttributesCount":1},"schemaUrl":"u","scopeSpans":[{"scope":{"name":"s","version":"1","attributes":[],
      "droppedAttributesCount":2},"schemaUrl":"v","spans":[{"traceId":"${ids.traceId}","spanId":"${ids.spanId}",
      "parentSpanId":"","traceState":"a=b","name":"n","kind":3,"startTimeUnixNano":"1790000000000000001",
      "endTimeUnixNano":1790000000000000003,"attributes":[{"key":"audit.action","value":{"stringValue":"READ"}}],
      "droppedAttributesCount":3,"events":[{"timeUnixNano":"7","name":"e","attributes":[],"droppedAttributesCount":4}],
      "droppedEventsCount":5,"links":[{"traceId":"${ids.traceId}","spanId":"${ids.spanId}","traceState":"x=y",
      "attributes":[],"droppedAttributesCount":6,"flags":1}],"droppedLinksCount":7,"status":{"code":2,"message":"m"},
      "flags":257}]}]}]}`;
    const lower = { traceId: ids.traceId.toLowerCase(), spanId: ids.spanId };
    expect(decodeTraces(convert(text))).toEqual({
      resourceSpans: [
        {
          resource: { attributes: { "service.name": "a" }, droppedAttributesCount: 1 },
          schemaUrl: "u",
          scopeSpans: [
            {
              scope: { name: "s", version: "1", droppedAttributesCount: 2 },
              schemaUrl: "v",
              spans: [
                {
                  ...lower,
                  traceState: "a=b",
                  name: "n",
                  kind: 3,
                  startTimeUnixNano: 1790000000000000001n,
                  endTimeUnixNano: 1790000000000000003n,
                  attributes: { "audit.action": "READ" },
                  droppedAttributesCount: 3,
                  events: [{ timeUnixNano: 7n, name: "e", droppedAttributesCount: 4 }],
                  droppedEventsCount: 5,
                  links: [{ ...lower, traceState: "x=y", droppedAttributesCount: 6, flags: 1 }],
                  droppedLinksCount: 7,
                  status: { code: 2, message: "m" },
                  flags: 257,
                },
              ],
            },
          ],
        },
      ],
    });
  });

  test("values of every kind", () => {
    expect(attributeJson('{"stringValue":"x\\n\\u00fc\\ud83d\\ude00ü"}')).toBe("x\nü😀ü");
    expect(attributeJson('{"stringValue":"\\ud800 \\udc00"}')).toBe("\ufffd \ufffd");
    expect(attributeJson('{"boolValue":true}')).toBe(true);
    expect(attributeJson('{"boolValue":false}')).toBe(false);
    expect(attributeJson('{"intValue":"-9223372036854775808"}')).toBe(-(2n ** 63n));
    expect(attributeJson('{"intValue":9007199254740993}')).toBe(9007199254740993n);
    expect(attributeJson('{"intValue":"0"}')).toBe(0);
    expect(attributeJson('{"intValue":1e3}')).toBe(1000);
    expect(attributeJson('{"doubleValue":0.5}')).toBe(0.5);
    expect(attributeJson('{"doubleValue":3}')).toEqual(new DoubleValue(3));
    expect(attributeJson('{"doubleValue":"NaN"}')).toBe(Number.NaN);
    expect(attributeJson('{"doubleValue":"-Infinity"}')).toBe(Number.NEGATIVE_INFINITY);
    expect(attributeJson('{"doubleValue":"1.5"}')).toBe(1.5);
    for (const bytes of ["/+8=", "/+8", "_-8=", "_-8"]) {
      expect(attributeJson(`{"bytesValue":"${bytes}"}`)).toEqual(Uint8Array.of(0xff, 0xef));
    }
    expect(attributeJson('{"arrayValue":{"values":[{"intValue":1},{},{"stringValue":"a"}]}}')).toEqual([1, null, "a"]);
    expect(attributeJson('{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}},{"key":"b"}]}}')).toEqual({
      a: true,
      b: null,
    });
    expect(attributeJson("{}")).toBe(null);
    expect(attributeJson("null")).toBe(null);
    expect(attributeJson('{"stringValue":null}')).toBe(null);
  });

  test("unknown keys and snake_case are ignored", () => {
    const span = decodeSpanJson(
      '"start_time_unix_nano":"5","x":{"y":[1,{"z":[]},"\\u0041",-1.5e-3,true,false,null]},"name":"n","trace_id":5',
    );
    expect([span.startTimeUnixNano, span.name]).toEqual([0n, "n"]);
    expect(convert('{"resource_spans":[{}],"other":[]}')).toHaveLength(0);
    expect(convert('{"resourceSpans":null}')).toHaveLength(0);
    expect(convert("{}")).toHaveLength(0);
  });

  test("bytes that are not UTF-8 become U+FFFD", () => {
    const text = Buffer.from(framed(JSON.stringify({ ...ids, name: "?" })));
    text[text.indexOf("?")] = 0xff;
    expect(decodeTraces(jsonToProtobuf(text)).resourceSpans[0]?.scopeSpans[0]?.spans[0]?.name).toBe("\ufffd");
  });

  test("what is wrong in a span costs that span alone", () => {
    const good = JSON.stringify({ ...ids, name: "good" });
    const wrong = [
      '"traceId":"xyz"',
      '"traceId":"0af7651916cd43dd8448eb211c80319c00"',
      '"traceId":12',
      '"parentSpanId":"123"',
      '"name":5',
      '"name":{"a":1}',
      '"kind":"SPAN_KIND_CLIENT"',
      '"kind":1.5',
      '"kind":2147483648',
      '"startTimeUnixNano":"-1"',
      '"startTimeUnixNano":"18446744073709551616"',
      '"startTimeUnixNano":"2026-01-01"',
      '"startTimeUnixNano":1e30',
      '"startTimeUnixNano":true',
      '"droppedAttributesCount":-1',
      '"flags":4294967296',
      '"attributes":{}',
      '"attributes":[5]',
      '"attributes":[null]',
      '"attributes":[{"key":5}]',
      '"attributes":[{"key":"a","value":"text"}]',
      '"attributes":[{"key":"a","key":"b"}]',
      '"attributes":[{"key":"a","value":{"intValue":"9223372036854775808"}}]',
      '"attributes":[{"key":"a","value":{"intValue":"0x10"}}]',
      '"attributes":[{"key":"a","value":{"intValue":""}}]',
      '"attributes":[{"key":"a","value":{"intValue":1.5}}]',
      '"attributes":[{"key":"a","value":{"doubleValue":1e999}}]',
      '"attributes":[{"key":"a","value":{"doubleValue":"nan"}}]',
      '"attributes":[{"key":"a","value":{"boolValue":"true"}}]',
      '"attributes":[{"key":"a","value":{"bytesValue":"a"}}]',
      '"attributes":[{"key":"a","value":{"bytesValue":"a b="}}]',
      '"attributes":[{"key":"a","value":{"stringValue":"a","intValue":1}}]',
      '"attributes":[{"key":"a","value":{"arrayValue":[]}}]',
      '"attributes":[{"key":"a","value":{"arrayValue":{"values":{}}}}]',
      '"events":[{"name":1}]',
      '"events":"none"',
      '"links":[{"spanId":"zz"}]',
      '"status":"ok"',
      '"status":{"code":"STATUS_CODE_ERROR"}',
      '"name":"a","name":"b"',
    ];
    for (const fields of wrong) {
      const rest = fields.startsWith('"traceId"') ? "" : `"traceId":"${ids.traceId}",`;
      const span = `{${rest}${fields},"spanId":"${ids.spanId}"}`;
      expect([fields, ...flagsOf(good, span, good)]).toEqual([fields, 0, SPAN_MALFORMED, 0]);
    }
    expect(flagsOf(good, "5", "null", "[]", '"x"', good)).toEqual([0, 2, 2, 2, 2, 0]);
    expect(flagsOf(`{${JSON.stringify(ids).slice(1, -1)},"name":"a","name":null}`)).toEqual([0]);
  });

  test("a resource or scope that is wrong costs its spans", () => {
    const span = JSON.stringify(ids);
    const text = `{"resourceSpans":[
      {"resource":5,"scopeSpans":[{"spans":[${span}]}]},
      {"scopeSpans":[{"scope":{"name":1},"spans":[${span}]},{"spans":[${span}]}]},
      {"resource":{},"resource":{},"scopeSpans":[{"spans":[${span}]}]}]}`;
    const index = scanTraces(convert(text));
    expect([...index.flags.subarray(0, index.count)]).toEqual([2, 2, 0, 2]);
  });

  test("values nest as deep as in protobuf", () => {
    const array = ['{"arrayValue":{"values":[', "]}}"] as const;
    const list = ['{"kvlistValue":{"values":[{"key":"k","value":', "}]}}"] as const;
    for (const [open, close] of [array, list]) {
      expect(flagsOf(nested(MAX_VALUE_DEPTH, open, close))).toEqual([0]);
      expect(flagsOf(nested(MAX_VALUE_DEPTH + 1, open, close))).toEqual([SPAN_MALFORMED]);
    }
  });

  test("what is wrong around the spans refuses the request, with its path", () => {
    expect(whereOf("[]")).toContain("expected an object");
    expect(whereOf("")).toContain("byte 0");
    expect(whereOf('{"resourceSpans":{}}')).toContain("(resourceSpans): expected an array");
    expect(whereOf('{"resourceSpans":[{},5]}')).toContain("(resourceSpans[1]): expected an object");
    expect(whereOf('{"resourceSpans":[null]}')).toContain("(resourceSpans[0])");
    expect(whereOf('{"resourceSpans":[{"scopeSpans":[{"spans":true}]}]}')).toContain(
      "resourceSpans[0].scopeSpans[0].spans",
    );
    expect(whereOf('{"resourceSpans":[{"schemaUrl":5}]}')).toContain("(resourceSpans[0].schemaUrl): expected a string");
    expect(whereOf(framed("{}", '{"name":"a}'))).toContain("scopeSpans[0].spans[1].name): unfinished string");
    expect(whereOf(`${framed("{}")} x`)).toContain("expected the end");
  });

  test("limits", () => {
    expect(problem("{}", { maxBytes: 1 }).message).toContain("maxBytes is 1");
    expect(problem(`{"x":${"[".repeat(300)}${"]".repeat(300)}}`).code).toBe("TOO_DEEP");
    expect(problem(`{"x":${"[".repeat(1_000_000)}`).code).toBe("TOO_DEEP");
    expect(problem('{"x":[[]]}', { maxDepth: 2 }).code).toBe("TOO_DEEP");
    expect(jsonToProtobuf(Buffer.from('{"x":[[]]}'), { maxDepth: 3 })).toHaveLength(0);
    // A number as long as the request takes linear time.
    const long = framed(
      `{"traceId":"${ids.traceId}","spanId":"${ids.spanId}","startTimeUnixNano":${"9".repeat(5_000_000)}}`,
    );
    expect([...scanTraces(convert(long)).flags.subarray(0, 1)]).toEqual([SPAN_MALFORMED]);
  });

  test("takes for JSON what JSON.parse takes for it", () => {
    const anything = fc.oneof(
      fc.json(),
      fc.string({ unit: fc.constantFrom(...PIECES) }),
      fc.tuple(fc.json(), fc.nat(), fc.string({ maxLength: 2 })).map(([text, at, extra]) => {
        const where = at % (text.length + 1);
        return text.slice(0, where) + extra + text.slice(where + 1);
      }),
    );
    fc.assert(
      fc.property(anything, (text) => {
        const whole = `{"x":${text}}`;
        expect(outcomeOf(Buffer.from(whole))).toBe(isJson(whole) ? "scanned" : "INVALID_JSON");
      }),
      { numRuns: 3000 },
    );
  });

  test("cut or changed anywhere: an OtlpError or a request that can be scanned", () => {
    const text = Buffer.from(
      framed(`{"traceId":"${ids.traceId}","spanId":"${ids.spanId}","kind":1,"name":"ü\\n",
      "startTimeUnixNano":"1","attributes":[{"key":"audit.action","value":{"arrayValue":{"values":[{"intValue":1},
      {"bytesValue":"AA=="},{"doubleValue":1.5},{"boolValue":true}]}}}],"events":[{"name":"e"}],"status":{"code":1}}`),
    );
    for (let end = 0; end < text.length; end++) expect(outcomeOf(text.subarray(0, end))).toMatch(OUTCOMES);
    for (let at = 0; at < text.length; at++) {
      for (const byte of [0x00, 0x22, 0x2c, 0x30, 0x5b, 0x5d, 0x6e, 0x7b, 0x7d, 0xff]) {
        const changed = Buffer.from(text);
        changed[at] = byte;
        expect(outcomeOf(changed)).toMatch(OUTCOMES);
      }
    }
  });
});

describe("protobufToJson", () => {
  test("and back gives the same request", () => {
    fc.assert(
      fc.property(request, (bytes) => {
        const json = protobufToJson(bytes);
        expect(decodeTraces(convert(json))).toEqual(decodeTraces(bytes));
        expect(protobufToJson(convert(json))).toBe(json);
      }),
      { numRuns: 200 },
    );
  });

  test("writes what OTLP/JSON asks for", () => {
    const span = `{"traceId":"${ids.traceId.toLowerCase()}","spanId":"${ids.spanId}","name":"n","kind":2,"startTimeUnixNano":"1790000000000000001","attributes":[{"key":"a","value":{"intValue":"-5"}},{"key":"a","value":{"doubleValue":3}},{"key":"b","value":{"doubleValue":"NaN"}},{"key":"c","value":{"bytesValue":"AP8="}},{"key":"d","value":{}}],"status":{"code":1}}`;
    expect(protobufToJson(convert(framed(span)))).toBe(framed(span));
  });

  test("throws an OtlpError on damage", () => {
    expect(() => protobufToJson(convert(framed("5")))).toThrow(OtlpError);
    expect(() => protobufToJson(Uint8Array.of(0x0a, 9))).toThrow(OtlpError);
  });
});

describe("the official exporters' bytes", () => {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const tracer = provider.getTracer("lib", "1.2.3");
  const parent = tracer.startSpan("parent");
  const child = tracer.startSpan(
    "GET",
    {
      kind: SpanKind.CLIENT,
      attributes: { "audit.action": "READ", n: 1, ratio: 0.5, list: ["a", "b"], on: true },
      links: [{ context: parent.spanContext(), attributes: { why: "test" } }],
    },
    trace.setSpan(ROOT_CONTEXT, parent),
  );
  child.addEvent("retry", { attempt: 2 });
  child.setStatus({ code: SpanStatusCode.ERROR, message: "no" });
  child.end();
  parent.end();
  const spans = exporter.getFinishedSpans();

  test("JSON and protobuf mean the same to us", () => {
    const json = JsonTraceSerializer.serializeRequest(spans)!;
    const protobuf = ProtobufTraceSerializer.serializeRequest(spans)!;
    const fromJson = decodeTraces(jsonToProtobuf(json));
    const fromProtobuf = decodeTraces(protobuf);
    expect(fromJson).toEqual(fromProtobuf);
    const found = fromProtobuf.resourceSpans[0]!.scopeSpans[0]!.spans.find((span) => span.name === "GET")!;
    expect(found).toMatchObject({
      kind: 3,
      parentSpanId: parent.spanContext().spanId,
      attributes: { "audit.action": "READ", n: 1, ratio: 0.5, list: ["a", "b"], on: true },
      events: [{ name: "retry", attributes: { attempt: 2 } }],
      links: [{ spanId: parent.spanContext().spanId, attributes: { why: "test" } }],
      status: { code: 2, message: "no" },
    });
    const index = scanTraces(protobuf);
    expect([...index.flags.subarray(0, index.count)].toSorted((a, b) => a - b)).toEqual([0, SPAN_AUDIT]);
  });
});
