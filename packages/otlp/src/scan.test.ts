import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeSpanWithProtobufjs, decodeWithProtobufjs } from "../../../test/proto/load.ts";
import { concat, len, request, spanBody, tag, unknownField, varint } from "../../../test/proto/random-traces.ts";
import { MAX_VALUE_DEPTH } from "./attributes.ts";
import type { SpanData } from "./data.ts";
import { decodeSpan } from "./decode.ts";
import { OtlpError } from "./errors.ts";
import { MAX_PARTS } from "./part-count.ts";
import { scanTraces } from "./scan.ts";
import { MAX_SPANS, SPAN_AUDIT, SPAN_MALFORMED, SpanIndex } from "./span-index.ts";
import { MAX_GROUP_DEPTH } from "./wire.ts";

const traceId = len(
  1,
  Uint8Array.from({ length: 16 }, (_, i) => i + 1),
);
const spanId = len(
  2,
  Uint8Array.from({ length: 8 }, (_, i) => i + 1),
);
const ids = concat([traceId, spanId]);
const attribute = (value: Uint8Array, key = "k") => len(9, concat([len(1, key), len(2, value)]));
const audit = attribute(len(1, "READ"), "audit.action");

/** A request with these span bodies in one scope. */
function framed(...spans: Uint8Array[]): Uint8Array {
  return len(1, len(2, concat(spans.map((span) => len(2, span)))));
}

function flagsOf(...spans: Uint8Array[]): number[] {
  const index = scanTraces(framed(...spans));
  return [...index.flags.subarray(0, index.count)];
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

function isReadable(body: Uint8Array): boolean {
  try {
    decodeSpan(body, 0, body.length);
    return true;
  } catch (error) {
    if (error instanceof OtlpError) return false;
    throw error;
  }
}

describe("valid requests", () => {
  test("the spans are those that protobufjs finds, with their resource and scope", () => {
    const index = new SpanIndex();
    fc.assert(
      fc.property(request, (bytes) => {
        scanTraces(bytes, index);
        const expected = decodeWithProtobufjs(bytes);
        const spans = expected.resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans));
        expect(index.malformedCount).toBe(0);
        expect(index.count).toBe(spans.length);
        expect(index.resourceCount).toBe(expected.resourceSpans.length);
        let row = 0;
        let scopeRow = 0;
        for (const [resourceRow, { scopeSpans }] of expected.resourceSpans.entries()) {
          for (const scope of scopeSpans) {
            for (const span of scope.spans) {
              expect(decodeSpan(bytes, index.start[row]!, index.end[row]!)).toEqual(span);
              expect((index.flags[row]! & SPAN_AUDIT) !== 0).toBe(Object.hasOwn(span.attributes ?? {}, "audit.action"));
              expect([index.resource[row], index.scope[row]]).toEqual([resourceRow, scopeRow]);
              row++;
            }
            scopeRow++;
          }
        }
        expect(index.auditCount).toBe([...index.flags.subarray(0, index.count)].filter((f) => f === SPAN_AUDIT).length);
      }),
      { numRuns: 300 },
    );
  });

  test("an input that begins within its buffer gives the same index", () => {
    fc.assert(
      fc.property(request, fc.uint8Array({ maxLength: 9 }), (bytes, before) => {
        const shifted = concat([before, bytes, before]).subarray(before.length, before.length + bytes.length);
        const { bytes: _a, ...expected } = scanTraces(bytes);
        const { bytes: _b, ...found } = scanTraces(shifted);
        expect(found).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  test("an empty request has no spans", () => {
    expect(scanTraces(new Uint8Array(0)).count).toBe(0);
  });

  test("Resource and scope may follow the spans", () => {
    const resource = len(1, attributeOf(1, "service.name", "refunds"));
    const scope = len(1, len(1, "scope"));
    const bytes = len(1, concat([len(2, concat([len(2, ids), scope])), resource]));
    const index = scanTraces(bytes);
    expect(index.flags[0]).toBe(0);
    const [start, end] = [index.resourceStart[0]!, index.resourceEnd[0]!];
    expect(bytes.slice(start, end)).toEqual(resource.slice(2));
    expect(bytes.slice(index.scopeStart[0], index.scopeEnd[0])).toEqual(scope.slice(2));
  });

  test("audit.action counts in any form: order, padding, value of any kind or none", () => {
    const key = len(1, "audit.action");
    const forms = [
      audit,
      len(9, concat([len(2, len(1, "READ")), key])),
      len(9, concat([key, len(2, len(1, "READ"), 5)]), 5),
      len(9, key),
      len(9, concat([key, len(2, varintOf(3, 1))])),
      len(9, concat([key, len(2, len(1, "R".repeat(1000)))])),
      len(9, concat([len(1, "audit.action", 3), len(2, len(5, new Uint8Array(0)))])),
    ];
    for (const form of forms) expect(flagsOf(concat([ids, form]))).toEqual([SPAN_AUDIT]);
    const near = ["audit.actio", "audit.actioN", "audit.action2", "xaudit.action", "Audit.action"];
    for (const name of near) expect(flagsOf(concat([ids, attribute(len(1, "READ"), name)]))).toEqual([0]);
    expect(flagsOf(concat([ids, attribute(len(1, "audit.action"))]))).toEqual([0]);
  });

  test("a length of several bytes whose first byte would fit is read to its end", () => {
    // 0x82 0x00 is 2, padded; 0x82 alone would be all that is left of the attribute.
    const value = Uint8Array.of(0x12, 0x82, 0x00, 0x18, 0x05);
    const body = concat([ids, len(9, concat([len(1, "k"), value, len(100, new Uint8Array(124))]))]);
    expect(flagsOf(body)).toEqual([0]);
    expect(decodeSpan(body, 0, body.length).attributes).toEqual({ k: 5 });
    expect(decodeSpanWithProtobufjs(body).attributes).toEqual({ k: 5 });
  });

  test("an index can be used again", () => {
    const index = scanTraces(framed(...Array.from({ length: 3000 }, () => concat([ids, audit]))));
    expect([index.count, index.auditCount]).toEqual([3000, 3000]);
    scanTraces(framed(ids, new Uint8Array(0)), index);
    expect([index.count, index.auditCount, index.malformedCount]).toEqual([2, 0, 1]);
    expect(codeOf(() => scanTraces(Uint8Array.of(0x0a, 5), index))).toBe("TRUNCATED");
    expect(index.count).toBe(0);
  });
});

function attributeOf(field: number, key: string, value: string): Uint8Array {
  return len(field, concat([len(1, key), len(2, len(1, value))]));
}

function varintOf(field: number, value: number): Uint8Array {
  return concat([tag(field, 0), varint(value)]);
}

function nested(levels: number, field: 5 | 6): Uint8Array {
  let value: Uint8Array = len(1, "x");
  for (let level = 0; level < levels; level++) {
    value = len(field, len(1, field === 5 ? value : concat([len(1, "k"), len(2, value)])));
  }
  return value;
}

function groups(depth: number): Uint8Array {
  const open = Array.from({ length: depth }, () => tag(100, 3));
  return concat([...open, ...open.map(() => tag(100, 4))]);
}

const ten = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
const malformed: Record<string, Uint8Array> = {
  "no ids": new Uint8Array(0),
  "no trace id": spanId,
  "no span id": traceId,
  "trace id of 15 bytes": concat([len(1, new Uint8Array(15).fill(1)), spanId]),
  "empty trace id": concat([len(1, ""), spanId]),
  "trace id of zeros": concat([len(1, new Uint8Array(16)), spanId]),
  "span id of zeros": concat([traceId, len(2, new Uint8Array(8))]),
  "span id of 16 bytes": concat([traceId, len(2, new Uint8Array(16).fill(1))]),
  "parent span id of 7 bytes": concat([ids, len(4, new Uint8Array(7))]),
  "trace id twice": concat([traceId, ids]),
  "name twice": concat([ids, len(5, "a"), len(5, "a")]),
  "status twice": concat([ids, len(15, ""), len(15, "")]),
  "start time twice": concat([ids, tag(7, 1), new Uint8Array(8), tag(7, 1), new Uint8Array(8)]),
  "flags twice": concat([ids, tag(16, 5), new Uint8Array(4), tag(16, 5), new Uint8Array(4)]),
  "name as varint": concat([ids, varintOf(5, 1)]),
  "kind as string": concat([ids, len(6, "x")]),
  "attribute as group": concat([ids, tag(9, 3), tag(9, 4)]),
  "field number 0": concat([ids, tag(0, 0), varint(1)]),
  "wire type 6": concat([ids, tag(100, 6)]),
  "wire type 7": concat([ids, tag(100, 7)]),
  "end of a group that did not begin": concat([ids, tag(100, 4)]),
  "group without end": concat([ids, tag(100, 3)]),
  "group with another end": concat([ids, tag(100, 3), tag(101, 4)]),
  "groups too deep": concat([ids, groups(MAX_GROUP_DEPTH + 1)]),
  "tag of 6 bytes": concat([ids, tag(100, 0, 6), varint(0)]),
  "tag over 32 bits": concat([ids, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x1f), varint(0)]),
  "varint of 11 bytes": concat([ids, tag(6, 0), new Uint8Array(10).fill(0x80), Uint8Array.of(0)]),
  "varint over 64 bits": concat([ids, tag(6, 0), new Uint8Array(9).fill(0xff), Uint8Array.of(0x02)]),
  "length past the end": concat([ids, tag(5, 2), varint(1)]),
  "length of 2^31": concat([ids, tag(5, 2), varint(2 ** 31)]),
  "length of 2^32 - 1": concat([ids, tag(5, 2), varint(2 ** 32 - 1)]),
  "length of 2^32": concat([ids, tag(5, 2), varint(2 ** 32)]),
  "length of 2^32 + 1, which 32 bits would make 1": concat([ids, tag(5, 2), varint(2 ** 32 + 1), Uint8Array.of(65)]),
  "negative length": concat([ids, tag(5, 2), varint(-1)]),
  "length of ten bytes": concat([ids, tag(5, 2), ten]),
  "length padded to six bytes": concat([ids, len(5, "a", 6)]),
  "fixed64 cut": concat([ids, tag(7, 1), new Uint8Array(7)]),
  "fixed32 cut": concat([ids, tag(16, 5), new Uint8Array(3)]),
  "tag cut": concat([ids, Uint8Array.of(0x85)]),
  "attribute: key twice": concat([ids, len(9, concat([len(1, "a"), len(1, "audit.action")]))]),
  "attribute: value twice": concat([ids, len(9, concat([len(1, "a"), len(2, ""), len(2, "")]))]),
  "attribute: key as varint": concat([ids, len(9, varintOf(1, 1))]),
  "attribute: two members of the oneof": concat([ids, attribute(concat([len(1, "a"), varintOf(3, 1)]))]),
  "attribute: a member and string_value_strindex": concat([ids, attribute(concat([len(1, "a"), varintOf(8, 1)]))]),
  "attribute: int as string": concat([ids, attribute(len(3, "1"))]),
  "attribute: string longer than its value": concat([ids, attribute(Uint8Array.of(0x0a, 5, 65))]),
  "attribute: int cut": concat([ids, attribute(Uint8Array.of(0x18, 0x80))]),
  "attribute: int of two bytes cut": concat([ids, attribute(Uint8Array.of(0x18, 0x80, 0x80))]),
  "attribute: double cut": concat([ids, attribute(Uint8Array.of(0x21, 1, 2, 3))]),
  "array: item damaged": concat([ids, attribute(len(5, len(1, Uint8Array.of(0x0a, 9))))]),
  "kvlist: key twice in a member": concat([ids, attribute(len(6, len(1, concat([len(1, "a"), len(1, "b")]))))]),
  "arrays too deep": concat([ids, attribute(nested(MAX_VALUE_DEPTH + 1, 5))]),
  "kvlists too deep": concat([ids, attribute(nested(MAX_VALUE_DEPTH + 1, 6))]),
  "event: name twice": concat([ids, len(11, concat([len(2, "a"), len(2, "b")]))]),
  "event: attribute damaged": concat([ids, len(11, len(3, Uint8Array.of(0x0a, 9)))]),
  "link: trace id of 3 bytes": concat([ids, len(13, len(1, "abc"))]),
  "status: code as string": concat([ids, len(15, len(3, "x"))]),
};

describe("a malformed span is flagged alone", () => {
  test.each(Object.entries(malformed))("%s", (_name, body) => {
    expect(flagsOf(ids, body, concat([ids, audit]))).toEqual([0, SPAN_MALFORMED, SPAN_AUDIT]);
    expect(isReadable(body)).toBe(false);
    const index = scanTraces(framed(concat([audit, body])));
    expect(index.malformedCount).toBe(1);
    expect(index.auditCount).toBe(1);
  });

  test("what is just within the limits is not", () => {
    const bodies = [
      concat([ids, groups(MAX_GROUP_DEPTH)]),
      concat([ids, attribute(nested(MAX_VALUE_DEPTH, 5))]),
      concat([ids, attribute(nested(MAX_VALUE_DEPTH, 6))]),
      concat([ids, len(11, len(3, concat([len(1, "k"), len(2, nested(MAX_VALUE_DEPTH, 6))])))]),
      concat([ids, len(5, "a", 5)]),
      concat([ids, tag(6, 0), ten]),
      concat([ids, len(4, "")]),
      concat([ids, len(13, "")]),
    ];
    for (const body of bodies) {
      expect(flagsOf(body)).toEqual([0]);
      expect(isReadable(body)).toBe(true);
      // The limits are ours and below those of others: what passes here is read behind us.
      expect(decodeSpanWithProtobufjs(body).spanId).toBe("0102030405060708");
    }
  });

  test("one broken byte anywhere: malformed exactly when it cannot be read, and then protobufjs agrees", () => {
    fc.assert(
      fc.property(spanBody, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean(), (body, at, byte, cut) => {
        const where = at % body.length;
        const broken = cut ? body.slice(0, where) : Uint8Array.from(body);
        if (!cut) broken[where] = byte;
        const flags = flagsOf(ids, broken, ids);
        expect([flags[0], flags[2]]).toEqual([0, 0]);
        expect((flags[1]! & SPAN_MALFORMED) === 0).toBe(isReadable(broken));
        if ((flags[1]! & SPAN_MALFORMED) !== 0) return;
        expect(decodeSpan(broken, 0, broken.length)).toEqual(decodeSpanWithProtobufjs(broken));
      }),
      { numRuns: 3000 },
    );
  });

  test("random bytes as a span", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => {
        const body = concat([ids, tail]);
        expect((flagsOf(body)[0]! & SPAN_MALFORMED) === 0).toBe(isReadable(body));
      }),
      { numRuns: 3000 },
    );
  });

  test("what surrounds a span has no part in its flags", () => {
    fc.assert(
      fc.property(spanBody, fc.nat(), spanBody, (body, at, neighbour) => {
        const cut = body.slice(0, at % (body.length + 1));
        const alone = flagsOf(cut)[0];
        expect(flagsOf(cut, neighbour)[0]).toBe(alone);
        expect(flagsOf(cut, concat([ids, audit]))[0]).toBe(alone);
        expect(flagsOf(neighbour, cut, new Uint8Array(40).fill(0xff))[1]).toBe(alone);
      }),
      { numRuns: 500 },
    );
  });
});

describe("resource and scope", () => {
  const two = concat([len(2, ids), len(2, concat([ids, audit]))]);
  const good = len(1, len(2, two));
  const resource = len(1, attributeOf(1, "a", "b"));

  test("a broken or repeated one flags its spans and no others", () => {
    const broken: Record<string, Uint8Array> = {
      "resource broken": concat([len(1, Uint8Array.of(0x0a, 9)), len(2, two)]),
      "resource broken, after the spans": concat([len(2, two), len(1, Uint8Array.of(0x07))]),
      "resource twice": concat([resource, len(2, two), resource]),
      "resource: entity reference broken": concat([len(1, len(3, varintOf(1, 1))), len(2, two)]),
      "schema URL twice": concat([len(3, "a"), len(2, two), len(3, "b")]),
      "scope broken": len(2, concat([two, len(1, varintOf(1, 1))])),
      "scope twice": len(2, concat([len(1, ""), two, len(1, "")])),
    };
    for (const [name, body] of Object.entries(broken)) {
      const index = scanTraces(concat([good, len(1, body), good]));
      expect([name, ...index.flags.subarray(0, index.count)]).toEqual([name, 0, 1, 2, 3, 0, 1]);
      expect([name, index.auditCount, index.malformedCount]).toEqual([name, 3, 2]);
    }
  });

  test("a broken scope leaves the other scopes of its resource", () => {
    const index = scanTraces(len(1, concat([resource, len(2, concat([len(1, Uint8Array.of(7)), two])), len(2, two)])));
    expect([...index.flags.subarray(0, 4)]).toEqual([2, 3, 0, 1]);
  });
});

describe("broken framing around the spans", () => {
  const cases: Record<string, [Uint8Array, string]> = {
    "request cut in a tag": [Uint8Array.of(0x8a), "TRUNCATED"],
    "length past the end": [Uint8Array.of(0x0a, 0x02, 0x12), "TRUNCATED"],
    "negative length": [concat([tag(1, 2), varint(-1)]), "INVALID_VARINT"],
    "length of 2^31": [concat([tag(1, 2), varint(2 ** 31), new Uint8Array(50)]), "TRUNCATED"],
    "length of 2^32 + 2": [concat([tag(1, 2), varint(2 ** 32 + 2), new Uint8Array(50)]), "INVALID_VARINT"],
    "resource_spans as varint": [varintOf(1, 1), "INVALID_WIRE_TYPE"],
    "scope_spans as group": [len(1, concat([tag(2, 3), tag(2, 4)])), "INVALID_WIRE_TYPE"],
    "spans as fixed64": [len(1, len(2, concat([tag(2, 1), new Uint8Array(8)]))), "INVALID_WIRE_TYPE"],
    "resource as varint": [len(1, varintOf(1, 1)), "INVALID_WIRE_TYPE"],
    "span longer than its scope": [len(1, len(2, concat([tag(2, 2), varint(9), ids.slice(0, 8)]))), "TRUNCATED"],
    "scope longer than its resource": [concat([len(1, concat([tag(2, 2), varint(4)])), len(1, "")]), "TRUNCATED"],
    "field 0": [Uint8Array.of(0x02, 0), "INVALID_TAG"],
    "wire type 7": [Uint8Array.of(0x0f), "INVALID_WIRE_TYPE"],
    "groups too deep": [groups(MAX_GROUP_DEPTH + 1), "TOO_DEEP"],
    "group of another number ends": [concat([tag(20, 3), tag(21, 4)]), "INVALID_TAG"],
  };
  test.each(Object.entries(cases))("%s", (_name, [bytes, code]) => {
    expect(codeOf(() => scanTraces(bytes))).toBe(code);
  });

  test("too many spans, resources or scopes", () => {
    const empty = new Uint8Array((MAX_SPANS + 1) * 2).map((_, i) => (i % 2 === 0 ? 0x12 : 0));
    expect(codeOf(() => scanTraces(len(1, len(2, empty))))).toBe("TOO_MANY_SPANS");
    expect(codeOf(() => scanTraces(len(1, empty)))).toBe("TOO_MANY_SPANS");
    const resources = empty.map((byte) => (byte === 0x12 ? 0x0a : byte));
    expect(codeOf(() => scanTraces(resources))).toBe("TOO_MANY_SPANS");
  });

  test("cut at every byte, or one byte changed: an index that agrees with protobufjs, or an OtlpError", () => {
    fc.assert(
      fc.property(request, fc.nat(), fc.integer({ min: 0, max: 255 }), (bytes, at, byte) => {
        for (let end = 0; end < bytes.length; end++) {
          const { found, expected } = bothWays(bytes.subarray(0, end));
          expect(found).toEqual(expected);
        }
        const flipped = Uint8Array.from(bytes);
        if (bytes.length > 0) flipped[at % bytes.length] = byte;
        const { found, expected } = bothWays(flipped);
        expect(found).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.array(unknownField), (bytes, fields) => {
        for (const input of [bytes, concat([...fields, framed(bytes)])]) {
          const { found, expected } = bothWays(input);
          expect(found).toEqual(expected);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

/** What we and protobufjs find; both empty when we refuse the request or a span of it with an OtlpError. */
function bothWays(bytes: Uint8Array): { found: SpanData[]; expected: SpanData[] } {
  let index: SpanIndex;
  try {
    index = scanTraces(bytes);
  } catch (error) {
    if (error instanceof OtlpError) return { found: [], expected: [] };
    throw error;
  }
  if (index.malformedCount > 0 || index.brokenWithoutSpan) return { found: [], expected: [] };
  const found = Array.from({ length: index.count }, (_, row) => decodeSpan(bytes, index.start[row]!, index.end[row]!));
  const { resourceSpans } = decodeWithProtobufjs(bytes);
  return { found, expected: resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans)) };
}

/** So many empty fields. */
const empty = (field: number, count: number): Uint8Array =>
  new Uint8Array(Buffer.alloc(count * 2, Uint8Array.of((field << 3) | 2, 0)));
const flagsIn = (bytes: Uint8Array): number => scanTraces(bytes).flags[0]!;

describe("a bound of parts", () => {
  const span = concat([ids, audit]);

  test.each<[string, (count: number) => Uint8Array, number]>([
    ["attributes of a span", (count) => framed(concat([span, empty(9, count)])), 3],
    ["events", (count) => framed(concat([span, empty(11, count)])), 3],
    ["attributes of an event", (count) => framed(concat([span, len(11, empty(3, count))])), 4],
    ["attributes of links", (count) => framed(concat([span, len(13, empty(4, count - 2)), len(13, empty(4, 2))])), 5],
    ["attributes of a resource", (count) => len(1, concat([len(1, empty(1, count)), len(2, len(2, span))])), 0],
    ["attributes of a scope", (count) => len(1, len(2, concat([len(1, empty(3, count)), len(2, span)]))), 0],
  ])("%s: not one too many", (_name, make, others) => {
    expect(flagsIn(make(MAX_PARTS - others))).toBe(SPAN_AUDIT);
    expect(flagsIn(make(MAX_PARTS - others + 1))).toBe(SPAN_AUDIT | SPAN_MALFORMED);
  });
});
