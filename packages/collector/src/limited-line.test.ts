import { expect, it } from "vitest";
import { LimitedLine } from "./limited-line.ts";

it("writes the first at once, and then one with all that have come since", () => {
  const line = new LimitedLine(20);
  expect(line.due()).toBe(1);
  let calls = 0;
  let count = 0;
  while (count === 0) {
    calls++;
    count = line.due();
  }
  expect(count).toBe(calls);
  const rare = new LimitedLine(3_600_000);
  expect(Array.from({ length: 1_000 }, () => rare.due()).filter((one) => one > 0)).toEqual([1]);
});
