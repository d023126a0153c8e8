import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClickHouseError } from "../errors.ts";
import { frameNative } from "./native-frames.ts";

/** One block: `n UInt8` with the values 1 and 2. */
const BLOCK = Buffer.from([1, 2, 1, 0x6e, 5, ...Buffer.from("UInt8"), 1, 2]);

function thrownBy(call: () => unknown): unknown {
  try {
    call();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe("frameNative", () => {
  it("leaves revision 0 as it is", () => {
    expect(frameNative(BLOCK, 0)).toBe(BLOCK);
  });

  it("adds the block's info, and from 54454 a flag to each column", () => {
    const info = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];
    const head = [1, 2, 1, 0x6e, 5, ...Buffer.from("UInt8")];
    expect([...frameNative(BLOCK, 54_453)]).toEqual([...info, ...head, 1, 2]);
    expect([...frameNative(BLOCK, 54_454)]).toEqual([...info, ...head, 0, 1, 2]);
  });

  it("throws this package's error and no other for foreign bytes", () => {
    const typed = fc
      .tuple(
        fc.constantFrom(
          "String",
          "Array(String)",
          "LowCardinality(String)",
          "Tuple(a UInt8, b Map(String, Int8))",
          "X(",
        ),
        fc.uint8Array({ maxLength: 64 }),
      )
      .map(([type, data]) => Buffer.from([1, 3, 1, 0x6e, type.length, ...Buffer.from(type), ...data]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), typed), (bytes) => {
        const thrown = thrownBy(() => frameNative(bytes, 54_460));
        expect(thrown === undefined || thrown instanceof ClickHouseError).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
