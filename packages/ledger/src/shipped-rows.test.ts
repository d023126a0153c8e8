import { expect, test } from "vitest";
import { ShippedRows, type ShippedRow } from "./shipped-rows.ts";

function row(n: number): ShippedRow {
  const streamId = `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  return { streamId, sequence: BigInt(n), receivedAt: BigInt(n) * 1_000_000_000n };
}

test("asked is what was shipped before, not what came after a doubt, in whatever order threads ship", () => {
  const rows = new ShippedRows(row(1));
  const worker = new ShippedRows(rows.memory);
  expect(rows.asked).toEqual(row(1));
  worker.add(row(3));
  worker.add(row(2));
  expect(rows.asked).toEqual(row(1));
  rows.found(row(1));
  expect(rows.asked).toEqual(row(3));
  worker.add(row(4));
  worker.doubt();
  worker.add(row(5));
  worker.doubt();
  expect(rows.asked).toEqual(row(4));
  // The answer is about the row before the doubt.
  rows.found(row(3));
  expect(rows.asked).toEqual(row(4));
  rows.found(row(4));
  expect(rows.asked).toEqual(row(5));
  rows.clear();
  expect(rows.asked).toBeUndefined();
  worker.add(row(2));
  rows.found(undefined);
  expect(rows.asked).toEqual(row(2));
});

test("who waits hears what was rung before and after", async () => {
  const rows = new ShippedRows(undefined);
  const worker = new ShippedRows(rows.memory);
  worker.doubt();
  await expect(rows.rung(3_600_000)).resolves.toBeUndefined();
  const waiting = rows.rung(3_600_000);
  worker.ring();
  await expect(waiting).resolves.toBeUndefined();
  await rows.rung(1);
});
