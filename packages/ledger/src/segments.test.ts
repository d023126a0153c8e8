// When the segments of a stream close, and what their rows, files and partitions are (rule L4).
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test, vi } from "vitest";
import { openLedger } from "./testing/open-ledger.ts";
import { append } from "./testing/records.ts";
import { idsOf, rowsOf } from "./testing/stored-rows.ts";
import type { LedgerAlarm } from "./types.ts";

const ns = (text: string): bigint => BigInt(Date.parse(text)) * 1_000_000n;

describe("segments (L4)", () => {
  test("close by rows, across one append too", async () => {
    const closed: number[] = [];
    const ledger = await openLedger({ maxSegmentRows: 4, onSegmentClosed: ({ count }) => closed.push(count) });
    await append(
      ledger,
      Array.from({ length: 10 }, (_, i) => `r${i}`),
    );
    await append(ledger, ["s"]);
    expect(closed).toEqual([4, 4]);
    await ledger.rotate();
    expect(closed).toEqual([4, 4, 3]);
    expect(await idsOf(ledger.closedSegments())).toEqual([...Array.from({ length: 10 }, (_, i) => `r${i}`), "s"]);
    expect(ledger.closedSegments().map(({ number }) => number)).toEqual([1, 2, 3]);
  });

  test("close by bytes and never exceed them", async () => {
    const ledger = await openLedger({ maxSegmentBytes: 256 * 1024 });
    for (let i = 0; i < 12; i++) await append(ledger, [`r${i}`], "x".repeat(60_000));
    await ledger.rotate();
    expect(ledger.closedSegments().map(({ count }) => count)).toEqual([4, 4, 4]);
    for (const { bytes } of ledger.closedSegments()) expect(bytes).toBeLessThanOrEqual(256 * 1024);
    expect(await rowsOf(ledger.closedSegments())).toHaveLength(12);
  });

  test("close by age, without anybody asking", async () => {
    const closed = Promise.withResolvers<void>();
    const ledger = await openLedger({ maxSegmentAgeMs: 20, onSegmentClosed: () => closed.resolve() });
    await append(ledger, ["a"]);
    await closed.promise;
    expect(await idsOf(ledger.closedSegments())).toEqual(["a"]);
  });

  test("live longer the more closed segments wait for export", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      const ledger = await openLedger({ maxSegmentAgeMs: 1000 });
      for (const id of ["a", "b", "c"]) {
        await append(ledger, [id]);
        await ledger.rotate();
      }
      const [first, ...others] = ledger.closedSegments();
      await append(ledger, ["d"]);
      vi.advanceTimersByTime(3999);
      // What closes the segment waits in the same line as this append.
      await append(ledger, ["e"]);
      expect(ledger.closedSegments()).toEqual([first, ...others]);
      await ledger.removeSegment(first!);
      vi.advanceTimersByTime(1);
      await append(ledger, ["f"]);
      expect(ledger.closedSegments().map(({ count }) => count)).toEqual([1, 1, 2]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("live no longer than a minute for a backlog", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      const ledger = await openLedger({ maxSegmentAgeMs: 20_000 });
      for (const id of ["a", "b", "c", "d"]) {
        await append(ledger, [id]);
        await ledger.rotate();
      }
      await append(ledger, ["e"]);
      vi.advanceTimersByTime(60_000);
      await append(ledger, ["f"]);
      expect(ledger.closedSegments()).toHaveLength(5);
    } finally {
      vi.useRealTimers();
    }
  });

  test("close at the month of ReceivedAt, which does not follow a small step back", async () => {
    const times = [
      "2026-11-30T23:59:59Z",
      "2026-12-01T00:00:00Z",
      "2026-11-30T23:59:59.5Z",
      "2027-01-01T00:00:00Z",
    ].map(ns);
    let now = 0n;
    const ledger = await openLedger({ now: () => now });
    for (const [i, time] of times.entries()) {
      now = time;
      await append(ledger, [`r${i}`]);
    }
    await ledger.rotate();
    expect(ledger.closedSegments().map(({ partition, count }) => [partition, count])).toEqual([
      ["202611", 1],
      ["202612", 2],
      ["202701", 1],
    ]);
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["ReceivedAt"])).toEqual([
      times[0],
      times[1],
      times[1],
      times[3],
    ]);
  });

  test("a clock that was wrong and is set right: ReceivedAt follows it, said once, and the age of what waits is true", async () => {
    const [right, wrong] = [ns("2026-11-30T00:00:00Z"), ns("2036-11-30T00:00:00Z")];
    const alarms: LedgerAlarm[] = [];
    let now = wrong;
    const ledger = await openLedger({ now: () => now, onAlarm: (alarm) => alarms.push(alarm) });
    await append(ledger, ["a"]);
    now = right;
    for (const id of ["b", "c"]) await append(ledger, [id]);
    expect(alarms).toMatchObject([{ code: "CLOCK", message: expect.stringContaining("went back by 315") }]);
    await sleep(20);
    const before = ledger.stats().oldestUnexportedMs;
    expect(before).toBeGreaterThanOrEqual(19);
    await ledger.rotate();
    expect(ledger.stats().oldestUnexportedMs).toBeGreaterThanOrEqual(before);
    expect(ledger.stats().oldestUnexportedMs).toBeLessThan(600_000);
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["ReceivedAt"])).toEqual([wrong, right, right]);
    expect(ledger.closedSegments().map(({ partition }) => partition)).toEqual(["203611", "202611"]);
  });

  test("rotation of nothing is nothing; removal forgets the file", async () => {
    const ledger = await openLedger();
    await ledger.rotate();
    expect(ledger.closedSegments()).toEqual([]);
    await append(ledger, ["a"]);
    await ledger.rotate();
    const [segment] = ledger.closedSegments();
    expect(ledger.stats().logBytes).toBe(fs.statSync(segment!.path).size);
    await ledger.removeSegment(segment!);
    await ledger.removeSegment(segment!);
    expect(fs.existsSync(segment!.path)).toBe(false);
    expect(ledger.stats()).toMatchObject({ segments: 0, logBytes: 0, oldestUnexportedMs: 0 });
  });

  test("a listener that throws does not stop the log", async () => {
    const alarms: LedgerAlarm[] = [];
    const ledger = await openLedger({
      onAlarm: (alarm) => alarms.push(alarm),
      onSegmentClosed: () => {
        throw new Error("listener");
      },
    });
    await append(ledger, ["a"]);
    await ledger.rotate();
    expect(alarms).toMatchObject([{ code: "CALLBACK_FAILED" }]);
    expect(await append(ledger, ["b"])).toMatchObject({ accepted: 1 });
  });
});
