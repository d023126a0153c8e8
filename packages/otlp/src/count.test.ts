import * as fc from "fast-check";
import { expect, it } from "vitest";
import { countItems } from "./count.ts";
import { OtlpError } from "./errors.ts";

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

it.each([
  ["a field that is longer than what is left", [0x7a, 0x0a]],
  ["a resource that is", [0x0a, 0x40, 0x12]],
  ["a scope that is", [0x0a, 0x04, 0x12, 0x40, 1, 2]],
  ["a record that is", [0x0a, 0x04, 0x12, 0x02, 0x12, 0x01]],
  ["a group without an end", [0x7b]],
  ["the end of a group", [0x0c]],
  ["half a tag", [0x80]],
  ["half a varint", [0x08, 0x80]],
  ["half a number", [0x79, 1, 2, 3]],
  ["a wire type that there is not", [0x0e]],
  ["field 0", [0x02, 0x00]],
])("refuses %s, which would take what comes behind it for its own", (_name, damage) => {
  const request = Buffer.concat([field(1, field(2, field(2, record))), Uint8Array.from(damage)]);
  for (const signal of ["logs", "metrics"] as const)
    expect(() => countItems(signal, request)).toThrow(/^Export(Logs|Metrics)ServiceRequest at byte \d+ /);
});

/** Items of a request, undefined when it is refused. */
function counted(request: Uint8Array): number | undefined {
  try {
    return countItems("logs", request);
  } catch (error) {
    if (error instanceof OtlpError) return undefined;
    throw error;
  }
}

it("counts in two requests, one behind the other, what is in each, and refuses any bytes with an OtlpError", () => {
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(field(1, field(2, field(2, record), field(3)))));
  fc.assert(
    fc.property(bytes, bytes, (one, other) => {
      const [first, second] = [counted(one), counted(other)];
      // Two that are refused may make a whole one.
      const isWhole = first !== undefined && second !== undefined;
      expect(isWhole ? counted(Buffer.concat([one, other])) : 0).toBe(isWhole ? first + second : 0);
    }),
  );
});
