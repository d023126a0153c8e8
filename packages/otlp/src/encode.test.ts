import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeWithProtobufjs, proto } from "../../../test/proto/load.ts";
import { concat, request } from "../../../test/proto/random-traces.ts";
import { AttributeList, MAX_VALUE_DEPTH, ValueKind } from "./attributes.ts";
import type { SpanData } from "./data.ts";
import { decodeSpan, decodeTraces } from "./decode.ts";
import { encodeAttribute, encodeSpan, encodeTraces, frameSpans } from "./encode.ts";
import { OtlpError } from "./errors.ts";
import { EventFields, LinkFields, ScopeFields, SpanFields } from "./fields.ts";
import { readEvent, readLink, readResource, readScope, readSpan } from "./read.ts";
import { readAnyValue, readAttributes } from "./read-value.ts";
import { decodePartialSuccess, encodePartialSuccess, encodeStatus, statusToJson } from "./response.ts";
import { scanTraces } from "./scan.ts";
import { type AttributeValue, DoubleValue } from "./value.ts";

const span: SpanData = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  parentSpanId: "00f067aa0ba902b7",
  traceState: "a=b",
  name: "GET /ü",
  kind: 3,
  startTimeUnixNano: 1_790_000_000_000_000_001n,
  endTimeUnixNano: 2n ** 64n - 1n,
  attributes: { "audit.action": "READ", n: 1 },
  droppedAttributesCount: 2,
  events: [{ timeUnixNano: 5n, name: "exception", attributes: { a: true }, droppedAttributesCount: 1 }],
  droppedEventsCount: 3,
  links: [{ traceId: "0af7651916cd43dd8448eb211c80319d", spanId: "b7ad6b7169203332", traceState: "x=y", flags: 1 }],
  droppedLinksCount: 4,
  status: { code: 2, message: "no" },
  flags: 0x101,
};

function roundTrip(value: AttributeValue): AttributeValue | undefined {
  const body = encodeSpan({ ...span, attributes: { value } });
  return decodeSpan(body, 0, body.length).attributes?.["value"];
}

function numbers(of: SpanFields): [string, unknown][] {
  return Object.entries(of).filter(([, value]) => typeof value === "number");
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof OtlpError) return error.code;
    throw error;
  }
  return "none";
}

describe("encode and decode", () => {
  test("a span comes back, and protobufjs reads the same", () => {
    const data = {
      resourceSpans: [
        {
          resource: { attributes: { "service.name": "refunds" }, droppedAttributesCount: 7 },
          scopeSpans: [
            { scope: { name: "lib", version: "1", attributes: { x: "y" } }, spans: [span], schemaUrl: "https://a" },
          ],
          schemaUrl: "https://b",
        },
      ],
    };
    const bytes = encodeTraces(data);
    expect(decodeTraces(bytes)).toEqual(data);
    expect(decodeWithProtobufjs(bytes)).toEqual(data);
    expect(scanTraces(bytes).malformedCount).toBe(0);
  });

  test("decoding gives what protobufjs gives; encoding that and decoding again changes nothing", () => {
    fc.assert(
      fc.property(request, (bytes) => {
        const data = decodeTraces(bytes);
        expect(data).toEqual(decodeWithProtobufjs(bytes));
        const again = encodeTraces(data);
        expect(decodeTraces(again)).toEqual(data);
        expect(encodeTraces(decodeTraces(again))).toEqual(again);
      }),
      { numRuns: 300 },
    );
  });

  test("values keep their type", () => {
    const same: AttributeValue[] = [
      "",
      "\u{feff}bom",
      "😀".repeat(100),
      true,
      false,
      0,
      -1,
      127,
      128,
      300,
      2 ** 32,
      -(2 ** 40),
      Number.MAX_SAFE_INTEGER,
      0.5,
      -0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      1e300,
      2n ** 63n - 1n,
      -(2n ** 63n),
      null,
      new DoubleValue(3),
      Uint8Array.of(0, 255),
      [],
      {},
      ["a", 1, [null, { b: 0.5 }]],
      { "": 1, nested: { list: [new DoubleValue(0)] } },
    ];
    for (const value of same) expect(roundTrip(value)).toStrictEqual(value);
    expect(roundTrip(5n)).toBe(5);
    expect(roundTrip("\ud800x")).toBe("\ufffdx");
    expect(roundTrip(new DoubleValue(0.5))).toBe(0.5);
    expect([new DoubleValue(3).toString(), JSON.stringify({ d: new DoubleValue(3) })]).toEqual(["3", '{"d":3}']);
  });

  test("keys that mean something to JavaScript are keys like others", () => {
    const attributes: Record<string, AttributeValue> = JSON.parse(
      '{"__proto__":"a","constructor":"b","toString":{"__proto__":1}}',
    );
    const body = encodeSpan({ ...span, attributes });
    const found = decodeSpan(body, 0, body.length).attributes!;
    expect(Object.entries(found)).toEqual(Object.entries(attributes));
    expect(Object.getPrototypeOf(found)).toBe(Object.prototype);
  });

  test("of a repeated key the first value counts", () => {
    const body = concat([encodeSpan(span), encodeAttribute("n", 2), encodeAttribute("m", "last")]);
    expect(decodeSpan(body, 0, body.length).attributes).toEqual({ "audit.action": "READ", n: 1, m: "last" });
    const before = concat([encodeAttribute("n", 2), encodeSpan(span)]);
    expect(decodeSpan(before, 0, before.length).attributes?.["n"]).toBe(2);
  });

  test("frameSpans gives a request", () => {
    const bodies = [encodeSpan(span), encodeSpan({ ...span, name: "x".repeat(300) })];
    const bytes = frameSpans({ "service.name": "a", deep: { b: [1] } }, { name: "lib", version: "2" }, bodies);
    const expected = {
      resourceSpans: [
        {
          resource: { attributes: { "service.name": "a", deep: { b: [1] } } },
          scopeSpans: [{ scope: { name: "lib", version: "2" }, spans: [span, { ...span, name: "x".repeat(300) }] }],
        },
      ],
    };
    expect(decodeTraces(bytes)).toEqual(expected);
    expect(decodeWithProtobufjs(bytes)).toEqual(expected);
  });

  test("what cannot be encoded is refused with a code", () => {
    const bad = (change: Partial<SpanData>) => codeOf(() => encodeSpan({ ...span, ...change }));
    expect(bad({ traceId: "12" })).toBe("INVALID_FIELD");
    expect(bad({ spanId: "b7ad6b716920333g" })).toBe("INVALID_FIELD");
    expect(bad({ startTimeUnixNano: -1n })).toBe("INVALID_FIELD");
    expect(bad({ endTimeUnixNano: 2n ** 64n })).toBe("INVALID_FIELD");
    expect(bad({ attributes: { big: 2n ** 63n } })).toBe("INVALID_FIELD");
    const nested = (levels: number): AttributeValue => (levels === 0 ? 1 : [nested(levels - 1)]);
    expect(bad({ attributes: { deep: nested(MAX_VALUE_DEPTH + 1) } })).toBe("TOO_DEEP");
    expect(roundTrip(nested(MAX_VALUE_DEPTH))).toEqual(nested(MAX_VALUE_DEPTH));
    const loop: AttributeValue[] = [];
    loop.push(loop);
    expect(bad({ attributes: { loop } })).toBe("TOO_DEEP");
    // After a refusal the encoder works as before.
    expect(decodeSpan(encodeSpan(span), 0, encodeSpan(span).length)).toEqual(span);
  });

  test("responses", () => {
    expect(encodePartialSuccess(0, "")).toHaveLength(0);
    expect(
      proto.response.toObject(proto.response.decode(encodePartialSuccess(3, "bad ids")), { longs: Number }),
    ).toEqual({
      partialSuccess: { rejectedSpans: 3, errorMessage: "bad ids" },
    });
    expect(proto.response.toObject(proto.response.decode(encodePartialSuccess(0, "ü".repeat(200))))).toEqual({
      partialSuccess: { errorMessage: "ü".repeat(200) },
    });
    expect(proto.rpcStatus.toObject(proto.rpcStatus.decode(encodeStatus(3, "no")))).toEqual({ code: 3, message: "no" });
    expect(encodeStatus(0, "")).toHaveLength(0);
  });

  test("a partial success comes back, and nothing else is taken for one", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.string({ unit: "grapheme", minLength: 1 }),
        (rejected, message) => {
          const bytes = encodePartialSuccess(rejected, message);
          expect(decodePartialSuccess(bytes)).toEqual({ rejected, message });
          expect(decodePartialSuccess(bytes.subarray(0, -1))).toBeUndefined();
        },
      ),
    );
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void decodePartialSuccess(bytes)));
    expect(decodePartialSuccess(new Uint8Array())).toBeUndefined();
  });

  test("a Status comes back with its RetryInfo, in protobuf and in JSON", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }),
        fc.string(),
        fc.double({ min: 0, max: 1e10, noNaN: true }),
        (code, message, wait) => {
          const text = message.toWellFormed();
          const read = proto.rpcStatus.toObject(proto.rpcStatus.decode(encodeStatus(code, message, wait)), {
            defaults: true,
          }) as { details: { typeUrl: string; value: Uint8Array }[] };
          expect(read).toMatchObject({ code, message: text });
          const [{ typeUrl, value }] = read.details as [{ typeUrl: string; value: Uint8Array }];
          const { retryDelay } = proto.retryInfo.toObject(proto.retryInfo.decode(value), {
            defaults: true,
            longs: Number,
          }) as { retryDelay: { seconds: number; nanos: number } };
          const ms = retryDelay.seconds * 1000 + retryDelay.nanos / 1e6;
          expect(ms).toBe(Math.ceil(wait));
          const json = JSON.parse(statusToJson(code, message, wait)) as { details: unknown[] };
          expect(json).toMatchObject({ code, message });
          expect(json.details).toEqual([{ "@type": typeUrl, retryDelay: `${ms / 1000}s` }]);
        },
      ),
    );
  });

  test("a Status without a hint has no details", () => {
    expect(proto.rpcStatus.toObject(proto.rpcStatus.decode(encodeStatus(3, "no")))).not.toHaveProperty("details");
    expect(JSON.parse(statusToJson(3, "no"))).toEqual({ code: 3, message: "no" });
  });
});

describe("readers", () => {
  const bytes = frameSpans({ "service.name": "refunds", "service.name2": 1 }, { name: "lib", version: "2" }, [
    encodeSpan(span),
  ]);
  const index = scanTraces(bytes);
  const text = (start: number, end: number) => Buffer.from(bytes.slice(start, end)).toString();

  test("give offsets", () => {
    const fields = new SpanFields();
    readSpan(bytes, index.start[0]!, index.end[0]!, fields);
    expect(Buffer.from(bytes.slice(fields.traceIdStart, fields.traceIdEnd)).toString("hex")).toBe(span.traceId);
    expect(text(fields.nameStart, fields.nameEnd)).toBe(span.name);
    expect([fields.startTime, fields.endTime]).toEqual([span.startTimeUnixNano, span.endTimeUnixNano]);
    expect([fields.kind, fields.statusCode, fields.flags]).toEqual([3, 2, 0x101]);
    expect([fields.droppedAttributes, fields.droppedEvents, fields.droppedLinks]).toEqual([2, 3, 4]);
    expect(text(fields.statusMessageStart, fields.statusMessageEnd)).toBe("no");
    const row = fields.attributes.find(bytes, Buffer.from("audit.action"));
    expect(fields.attributes.kind[row]).toBe(ValueKind.String);
    expect(text(fields.attributes.valueStart[row]!, fields.attributes.valueEnd[row]!)).toBe("READ");
    expect(fields.attributes.find(bytes, Buffer.from("audit.actio"))).toBe(-1);

    const event = new EventFields();
    readEvent(bytes, fields.eventStart[0]!, fields.eventEnd[0]!, event);
    expect([event.time, text(event.nameStart, event.nameEnd)]).toEqual([5n, "exception"]);
    expect(readAttributes(bytes, event.attributes)).toEqual({ a: true });
    const link = new LinkFields();
    readLink(bytes, fields.linkStart[0]!, fields.linkEnd[0]!, link);
    expect([text(link.traceStateStart, link.traceStateEnd), link.flags]).toEqual(["x=y", 1]);
    expect(link.spanIdEnd - link.spanIdStart).toBe(8);

    const resource = new AttributeList();
    readResource(bytes, index.resourceStart[0]!, index.resourceEnd[0]!, resource);
    expect(readAttributes(bytes, resource)).toEqual({ "service.name": "refunds", "service.name2": 1 });
    const scope = new ScopeFields();
    readScope(bytes, index.scopeStart[0]!, index.scopeEnd[0]!, scope);
    expect([text(scope.nameStart, scope.nameEnd), text(scope.versionStart, scope.versionEnd)]).toEqual(["lib", "2"]);
  });

  test("forget the last message", () => {
    const fields = new SpanFields();
    readSpan(bytes, index.start[0]!, index.end[0]!, fields);
    const bare = encodeSpan({
      traceId: span.traceId,
      spanId: span.spanId,
      name: "",
      startTimeUnixNano: 0n,
      endTimeUnixNano: 0n,
    });
    readSpan(bare, 0, bare.length, fields);
    const fresh = new SpanFields();
    readSpan(bare, 0, bare.length, fresh);
    expect(numbers(fields)).toEqual(numbers(fresh));
    expect([fields.attributes.count, fields.startTime]).toEqual([0, 0n]);
    const scope = new ScopeFields();
    readScope(bytes, index.scopeStart[0]!, index.scopeEnd[0]!, scope);
    readScope(bytes, 0, 0, scope);
    expect([scope.nameEnd, scope.versionEnd, scope.attributes.count]).toEqual([0, 0, 0]);
  });

  test("lists grow", () => {
    const attributes = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, i]));
    const events = Array.from({ length: 50 }, (_, i) => ({ timeUnixNano: BigInt(i), name: `e${i}` }));
    const links = Array.from({ length: 50 }, () => ({ traceId: span.traceId, spanId: span.spanId }));
    const body = encodeSpan({ ...span, attributes, events, links });
    expect(decodeSpan(body, 0, body.length)).toEqual({ ...span, attributes, events, links });
  });

  test("never look outside the range they are given", () => {
    fc.assert(
      fc.property(fc.nat(), fc.uint8Array({ minLength: 30, maxLength: 30 }), (at, around) => {
        const body = encodeSpan(span);
        const cut = body.slice(0, at % (body.length + 1));
        const outcome = (input: Uint8Array, start: number) => {
          try {
            return decodeSpan(input, start, start + cut.length);
          } catch (error) {
            if (error instanceof OtlpError) return error.code;
            throw error;
          }
        };
        expect(outcome(concat([around, cut, around]), around.length)).toEqual(outcome(cut, 0));
        expect(outcome(concat([cut, body.slice(cut.length)]), 0)).toEqual(outcome(cut, 0));
      }),
      { numRuns: 500 },
    );
  });

  test("readAnyValue refuses damage inside arrays and kvlists", () => {
    for (const kind of [ValueKind.Array, ValueKind.KvList]) {
      expect(codeOf(() => readAnyValue(Uint8Array.of(0x0a, 9), kind, 0, 2))).toBe("TRUNCATED");
      expect(codeOf(() => readAnyValue(Uint8Array.of(0x0a, 2, 0x0a, 9), kind, 0, 4))).toBe("TRUNCATED");
      expect(codeOf(() => readAnyValue(Uint8Array.of(0x08, 9), kind, 0, 2))).toBe("INVALID_WIRE_TYPE");
    }
  });
});
