import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { decodeWithProtobufjs, proto } from "../../../test/proto/load.ts";
import { concat, len, request, tag, varint } from "../../../test/proto/random-traces.ts";
import type { TracesData } from "./data.ts";
import { scanTraces } from "./scan.ts";
import { sliceSpans } from "./slice.ts";
import { SPAN_AUDIT, SPAN_MALFORMED } from "./span-index.ts";

const ids = concat([len(1, new Uint8Array(16).fill(1)), len(2, new Uint8Array(8).fill(2))]);
const debug = (name: string) => len(2, concat([ids, len(5, name)]));
const audit = len(2, concat([ids, len(5, "SECRET"), len(9, concat([len(1, "audit.action"), len(2, len(1, "READ"))]))]));
const broken = len(2, len(5, "BROKEN"));
const padded = (body: Uint8Array) => concat([tag(2, 2, 3), varint(body.length, 5), body]);
const unknown = (text: string) => len(200, text);

/** What is to be left when spans with an audit action go. */
function withoutAudit(data: TracesData): TracesData {
  const resourceSpans = data.resourceSpans
    .map((resource) => ({
      ...resource,
      scopeSpans: resource.scopeSpans
        .map((scope) => ({
          ...scope,
          spans: scope.spans.filter((span) => !Object.hasOwn(span.attributes ?? {}, "audit.action")),
        }))
        .filter((scope) => scope.spans.length > 0),
    }))
    .filter((resource) => resource.scopeSpans.length > 0);
  return { resourceSpans };
}

describe("sliceSpans", () => {
  test("leaves what protobufjs and a filter leave", () => {
    fc.assert(
      fc.property(request, (bytes) => {
        const index = scanTraces(bytes);
        const slice = sliceSpans(index, SPAN_AUDIT);
        const all = decodeWithProtobufjs(bytes);
        // With nothing to drop the bytes stay, with resources and scopes that have no span.
        const untouched = index.auditCount === 0 && index.count > 0;
        expect(slice === bytes).toBe(untouched);
        expect(decodeWithProtobufjs(slice)).toEqual(untouched ? all : withoutAudit(all));
        expect(scanTraces(slice).auditCount).toBe(0);
      }),
      { numRuns: 400 },
    );
  });

  test("gives the same bytes object when nothing is dropped", () => {
    const bytes = len(1, len(2, concat([debug("a"), audit])));
    const index = scanTraces(bytes);
    expect(sliceSpans(index, 0)).toBe(bytes);
    expect(sliceSpans(index, SPAN_MALFORMED)).toBe(bytes);
  });

  test("gives length 0 when no span is left", () => {
    const bytes = concat([unknown("x"), len(1, concat([len(1, ""), len(2, concat([audit, broken]))]))]);
    expect(sliceSpans(scanTraces(bytes), SPAN_AUDIT | SPAN_MALFORMED)).toHaveLength(0);
    expect(sliceSpans(scanTraces(new Uint8Array(0)), SPAN_AUDIT)).toHaveLength(0);
  });

  test("keeps the bytes of spans, resources and unknown fields, in their order, and nothing of what is dropped", () => {
    const scope = (...spans: Uint8Array[]) => len(2, concat([unknown("in scope"), ...spans, len(1, len(1, "scope"))]));
    const resource = (...scopes: Uint8Array[]) => len(1, concat([...scopes, unknown("in resource"), len(3, "url")]));
    const bytes = concat([
      unknown("first"),
      resource(scope(debug("a"), audit, debug("b"), broken), scope(audit)),
      resource(scope(audit)),
      unknown("last"),
    ]);
    const slice = sliceSpans(scanTraces(bytes), SPAN_AUDIT | SPAN_MALFORMED);
    const expected = concat([unknown("first"), resource(scope(debug("a"), debug("b"))), unknown("last")]);
    expect(withShortLengths(slice)).toEqual(expected);
    expect(Buffer.from(slice.buffer).includes("SECRET")).toBe(false);
    expect(Buffer.from(slice.buffer).includes("BROKEN")).toBe(false);
  });

  test("leaves nothing of other people's memory behind the slice", () => {
    const index = scanTraces(len(1, len(2, concat([debug("a"), audit, audit, audit]))));
    // Memory as it may come: with somebody's bytes in it.
    const allocate = vi.spyOn(Buffer, "allocUnsafeSlow").mockImplementation((size) => Buffer.alloc(size, 7));
    const slice = sliceSpans(index, SPAN_AUDIT);
    allocate.mockRestore();
    expect(new Uint8Array(slice.buffer).subarray(slice.length)).not.toContain(7);
  });

  test("writes into the memory that is given, if it is large enough", () => {
    const bytes = len(1, len(2, concat([debug("a"), audit, debug("b")])));
    const index = scanTraces(bytes);
    const memory = new Uint8Array(bytes.length + 100).fill(7);
    const slice = sliceSpans(index, SPAN_AUDIT, memory);
    expect(slice.buffer).toBe(memory.buffer);
    expect(slice).toEqual(sliceSpans(index, SPAN_AUDIT));
    expect(sliceSpans(index, SPAN_AUDIT, new Uint8Array(3))).toEqual(slice);
  });

  test("drops a broken ResourceSpans that has no span, for the backend would refuse the request", () => {
    const bytes = concat([len(1, len(1, Uint8Array.of(7))), len(1, len(2, debug("a")))]);
    const index = scanTraces(bytes);
    expect(index.malformedCount).toBe(0);
    expect(withShortLengths(sliceSpans(index, SPAN_MALFORMED))).toEqual(len(1, len(2, debug("a"))));
  });

  test("one bad span among 512 costs that span", () => {
    const spans = Array.from({ length: 512 }, (_, i) => (i === 300 ? broken : debug(`span ${i}`)));
    const index = scanTraces(len(1, len(2, concat(spans))));
    expect([index.count, index.malformedCount, index.flags[300]]).toEqual([512, 1, SPAN_MALFORMED]);
    const slice = proto.request.decode(sliceSpans(index, SPAN_MALFORMED));
    expect(
      decodeWithProtobufjs(proto.request.encode(slice).finish()).resourceSpans[0]?.scopeSpans[0]?.spans,
    ).toHaveLength(511);
  });

  test("spans whose tag or length is padded", () => {
    const body = concat([ids, len(5, "kept")]);
    const bytes = len(1, len(2, concat([padded(audit.slice(2)), padded(body), audit, padded(audit.slice(2))])));
    const slice = sliceSpans(scanTraces(bytes), SPAN_AUDIT);
    expect(withShortLengths(slice)).toEqual(len(1, len(2, padded(body))));
  });
});

/** The request with the lengths of its two outer levels in their shortest form. */
function withShortLengths(bytes: Uint8Array): Uint8Array {
  return reframe(bytes, 1, (resource) => reframe(resource, 2, (scope) => scope));
}

function reframe(bytes: Uint8Array, field: number, inner: (body: Uint8Array) => Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let pos = 0; pos < bytes.length;) {
    const [key, afterKey] = readVarint(bytes, pos);
    const [length, start] = readVarint(bytes, afterKey);
    const body = bytes.slice(start, start + length);
    parts.push(key === field * 8 + 2 ? len(field, inner(body)) : bytes.slice(pos, start + length));
    pos = start + length;
  }
  return concat(parts);
}

function readVarint(bytes: Uint8Array, at: number): [value: number, end: number] {
  let value = 0;
  for (let i = at, shift = 0; ; i++, shift += 7) {
    value += (bytes[i]! & 0x7f) * 2 ** shift;
    if (bytes[i]! < 0x80) return [value, i + 1];
  }
}
