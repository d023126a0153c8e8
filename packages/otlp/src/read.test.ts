import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isContainer } from "./attributes.ts";
import { frameSpans } from "./encode.ts";
import { SpanFields } from "./fields.ts";
import { readSpan } from "./read.ts";
import { scanTraces } from "./scan.ts";
import { SPAN_MALFORMED } from "./span-index.ts";

const TRACE_ID = Array.from({ length: 16 }, (_, i) => i + 1);
const SPAN_ID = Array.from({ length: 8 }, (_, i) => i + 101);
const PARENT = Array.from({ length: 8 }, (_, i) => i + 201);

/** The fields of a span as they stand on the wire, by their numbers; `name` has less than 128 bytes. */
function wireFields(name: string): number[][] {
  const text = [...Buffer.from(name)];
  return [
    [0x0a, 16, ...TRACE_ID],
    [0x12, 8, ...SPAN_ID],
    [0x22, 8, ...PARENT],
    [0x2a, text.length, ...text],
    [0x30, 3],
    [0x39, 1, 0, 0, 0, 0, 0, 0, 0],
    [0x41, 2, 0, 0, 0, 0, 0, 0, 0],
    [0x4a, 9, 0x0a, 2, 0x6b, 0x31, 0x12, 3, 0x0a, 1, 0x76],
    [0x4a, 9, 0x0a, 2, 0x6b, 0x32, 0x12, 3, 0x0a, 1, 0x76],
    [0x7a, 2, 0x18, 2],
  ];
}

/** Whether `readSpan` takes the span, and whether the scan does: the same, unless there are parts that it only locates. */
function verdicts(body: Uint8Array): { read: boolean; scanned: boolean } {
  const index = scanTraces(frameSpans({}, { name: "" }, [body]));
  const scanned = (index.flags[0]! & SPAN_MALFORMED) === 0;
  const fields = new SpanFields();
  try {
    readSpan(index.bytes, index.start[0]!, index.end[0]!, fields);
    const { count, kind } = fields.attributes;
    const located = fields.eventCount + fields.linkCount > 0 || kind.subarray(0, count).some(isContainer);
    return { read: true, scanned: scanned || located };
  } catch {
    return { read: false, scanned };
  }
}

const names = fc.string({ maxLength: 40 });

describe("readSpan", () => {
  test("fields in any order, and any of them but the ids left out", () => {
    const orders = fc.shuffledSubarray([...wireFields("").keys()]);
    fc.assert(
      fc.property(names, fc.option(orders), (name, order) => {
        const all = wireFields(name);
        const rows = order === null ? [...all.keys()] : [...new Set([...order, 0, 1])];
        const body = Uint8Array.from(rows.flatMap((row) => all[row]!));
        const fields = new SpanFields();
        readSpan(body, 0, body.length, fields);
        const bytes = (start: number, end: number): number[] => [...body.subarray(start, end)];
        const has = (row: number): boolean => rows.includes(row);
        expect(bytes(fields.traceIdStart, fields.traceIdEnd)).toEqual(TRACE_ID);
        expect(bytes(fields.spanIdStart, fields.spanIdEnd)).toEqual(SPAN_ID);
        expect(bytes(fields.parentSpanIdStart, fields.parentSpanIdEnd)).toEqual(has(2) ? PARENT : []);
        expect(bytes(fields.nameStart, fields.nameEnd)).toEqual(has(3) ? [...Buffer.from(name)] : []);
        expect(fields.kind).toBe(has(4) ? 3 : 0);
        expect([fields.startTime, fields.endTime]).toEqual([has(5) ? 1n : 0n, has(6) ? 2n : 0n]);
        expect(fields.attributes.count).toBe(Number(has(7)) + Number(has(8)));
        expect(fields.statusCode).toBe(has(9) ? 2 : 0);
      }),
    );
  });

  test("no field but an attribute may come twice", () => {
    const all = wireFields("name");
    for (const [row, twice] of all.entries()) {
      const body = Uint8Array.from([...all, twice].flat());
      const taken = row === 7 || row === 8;
      expect(verdicts(body)).toEqual({ read: taken, scanned: taken });
    }
  });

  test("cut off or changed anywhere, it is broken exactly when the scan says so", () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 });
    fc.assert(
      fc.property(names, fc.nat(), changes, (name, cut, changed) => {
        const body = Uint8Array.from(wireFields(name).flat());
        for (const [at, value] of changed) body[at % body.length] = value;
        const { read, scanned } = verdicts(body.subarray(0, changed.length === 0 ? cut % body.length : body.length));
        expect(read).toBe(scanned);
      }),
      { numRuns: 3000 },
    );
  });
});
