import { expect, test } from "vitest";
import { SegmentReader, readSegment } from "./segment-rows.ts";
import { openLedger } from "./testing/open-ledger.ts";
import { append } from "./testing/records.ts";

test("one reader reads long and short segments in turn, each as it is", async () => {
  const ledger = await openLedger();
  for (const count of [300, 2, 40]) {
    await append(
      ledger,
      Array.from({ length: count }, (_, i) => `${count}-${i}`),
      "n".repeat(count),
    );
    await ledger.rotate();
  }
  const segments = ledger.closedSegments();
  const reader = new SegmentReader();
  for (const closed of [...segments, ...segments.toReversed()]) {
    const { segment, rows, offsets } = reader.read(closed.path);
    const alone = await readSegment(closed.path);
    expect(segment).toEqual(closed);
    expect([...offsets]).toEqual([...alone.offsets]);
    expect(Buffer.compare(rows, alone.rows)).toBe(0);
  }
  expect(() => reader.read(`${segments[0]!.path}-missing`)).toThrow(expect.objectContaining({ code: "IO" }));
  expect(reader.read(segments[1]!.path).segment).toEqual(segments[1]);
});
