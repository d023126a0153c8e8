import { expect, test } from "vitest";
import { keepBusiestDays, type Rows } from "./busiest-days.ts";

/** Rows of a timestamp and one byte that says which row it is. */
function block(days: readonly number[]): Rows {
  const rows = Buffer.alloc(days.length * 9);
  for (const [i, day] of days.entries()) {
    rows.writeBigInt64LE(BigInt(day) * 86_400_000_000_000n + 5n, i * 9);
    rows[i * 9 + 8] = i;
  }
  return { rows, offsets: Uint32Array.from({ length: days.length + 1 }, (_, i) => i * 9) };
}

function names({ rows, offsets }: Rows): number[] {
  return Array.from({ length: offsets.length - 1 }, (_, i) => rows[offsets[i + 1]! - 1]!);
}

test("rows of few days stay as they are", () => {
  const few = block([1, 2, 1, -3]);
  expect(keepBusiestDays(few, 3)).toBe(few);
});

test("of many days the busiest stay, whole and in their order", () => {
  expect(names(keepBusiestDays(block([7, 1, 7, 2, 9, 3, 9, 9]), 2))).toEqual([0, 2, 4, 6, 7]);
});
