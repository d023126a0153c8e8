import * as fc from "fast-check";
import { expect, it } from "vitest";
import { countItems } from "./count.ts";

/** A length-delimited field; lengths here are below 128. */
function field(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  return Buffer.concat([Uint8Array.of((number << 3) | 2, body.length), body]);
}
const record = Uint8Array.of(0x0a, 0);

it("counts log records under every resource and scope", () => {
  const scope = field(2, field(1), field(2, record), field(2), field(3));
  const request = Buffer.concat([field(1, field(1), scope, scope), field(1, scope), field(9, scope)]);
  expect(countItems("logs", request)).toBe(6);
});

it("counts the points of every kind of metric, and no other fields of theirs", () => {
  const metric = (kind: number, points: number): Uint8Array =>
    field(2, field(1), field(kind, ...Array.from({ length: points }, () => field(1)), Uint8Array.of(0x10, 2)));
  const kinds = [5, 7, 9, 10, 11].map((kind, i) => metric(kind, i + 1));
  const request = field(1, field(2, ...kinds, metric(3, 4)));
  expect(countItems("metrics", request)).toBe(15);
});

it("counts what stands before the damage, and takes any bytes", () => {
  const request = field(1, field(2, field(2, record), field(2, record)));
  expect(countItems("logs", Buffer.concat([request, Uint8Array.of(0x0a, 0x7f, 1)]))).toBe(2);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(countItems("metrics", bytes)).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
