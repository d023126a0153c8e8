import { expect, it } from "vitest";
import { SharedNames } from "./shared-names.ts";

it("is the same set for all who have its memory, and forgets when there are too many", () => {
  const memory = new SharedArrayBuffer(SharedNames.byteLength);
  const [one, other] = [new SharedNames(memory), new SharedNames(memory)];
  one.add("a");
  one.add("a");
  expect([one.has("a"), other.has("a"), other.has("b"), other.has("")]).toEqual([true, true, false, false]);
  for (let i = 0; i < 100_000; i++) other.add(`x${i}`);
  const known = Array.from({ length: 100_000 }, (_, i) => one.has(`x${i}`)).filter(Boolean).length;
  expect(known).toBeGreaterThan(10_000);
  expect(known).toBeLessThanOrEqual(SharedNames.byteLength / 8);
  expect(one.has("x99999")).toBe(true);
});
