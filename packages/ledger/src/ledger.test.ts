import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type SpanIndex, SPAN_AUDIT, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { afterEach, describe, expect, test, vi } from "vitest";
import { mountSmallDisk, tempDir } from "../../../test/support/index.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";
import { decodeRow } from "./row-decode.ts";
import { RowFlag } from "./row-format.ts";
import { readSegment } from "./segment-rows.ts";
import type { AppendResult, CollectorFacts, LedgerAlarm, LedgerOptions } from "./types.ts";

const FACTS: CollectorFacts = { provenance: "asserted", principal: "p", tenantId: "" };
const opened = new Set<Ledger>();
let alarms: LedgerAlarm[] = [];
const onAlarm = (alarm: LedgerAlarm): unknown => alarms.push(alarm);
const ns = (text: string): bigint => BigInt(Date.parse(text)) * 1_000_000n;

const gates = new Set<() => void>();

afterEach(async () => {
  // A test that failed before it opened its gate must not keep the others waiting.
  for (const open of gates) open();
  gates.clear();
  const ledgers = [...opened];
  opened.clear();
  for (const ledger of ledgers) await ledger.close().catch(() => undefined);
  alarms = [];
});

async function open(options: Partial<LedgerOptions> = {}): Promise<Ledger> {
  const ledger = await Ledger.open({
    dir: tempDir("ledger"),
    maxSegmentAgeMs: 60_000,
    windowKeys: 10_000,
    onAlarm,
    ...options,
  });
  opened.add(ledger);
  return ledger;
}

function spans(ids: readonly string[], note = "", audit = true): SpanIndex {
  const bodies = ids.map((id, i) =>
    encodeSpan({
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: (i + 1).toString(16).padStart(16, "0"),
      name: "n",
      startTimeUnixNano: 1n,
      endTimeUnixNano: 2n,
      attributes: { ...(audit ? { "audit.action": "READ" } : {}), "audit.record.id": id, note },
    }),
  );
  return scanTraces(frameSpans({}, { name: "" }, bodies));
}

function append(ledger: Ledger, ids: readonly string[], note?: string, facts = FACTS): Promise<AppendResult> {
  return ledger.append(spans(ids, note), SPAN_AUDIT, facts);
}

/** All rows of the closed segments, in order; checks that they are whole and without a gap. */
async function rows(ledger: Ledger): Promise<Record<string, unknown>[]> {
  const result: Record<string, unknown>[] = [];
  for (const segment of ledger.closedSegments()) {
    const read = await readSegment(segment.path);
    expect(read.segment).toEqual(segment);
    for (let i = 0; i < segment.count; i++) {
      const { row, end } = decodeRow(read.rows, read.offsets[i]!);
      expect(end).toBe(read.offsets[i + 1]);
      expect(row["Sequence"]).toBe(segment.firstSequence + BigInt(i));
      expect(row["StreamId"]).toBe(segment.streamId);
      result.push(row);
    }
  }
  return result;
}

async function idsOf(ledger: Ledger): Promise<unknown[]> {
  return (await rows(ledger)).map((row) => row["RecordId"]);
}

describe("append", () => {
  test("stores what the mask names, in order, with gap-free sequences from 1", async () => {
    const ledger = await open();
    expect(await append(ledger, ["a", "b"])).toEqual({ accepted: 2, duplicates: 0, conflicts: 0, rejected: [] });
    expect(await ledger.append(spans(["x"], "", false), SPAN_AUDIT, FACTS)).toMatchObject({ accepted: 0 });
    await Promise.all(["c", "d", "e"].map((id) => append(ledger, [id])));
    expect(ledger.stats()).toMatchObject({ openRows: 5, segments: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b", "c", "d", "e"]);
    expect((await rows(ledger)).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(ledger.stats()).toMatchObject({ openRows: 0, openBytes: 0, segments: 1 });
  });

  test("rows are on disk when it resolves: another reader finds them", async () => {
    const dir = tempDir("ledger");
    const ledger = await open({ dir });
    await append(ledger, ["a"]);
    const file = path.join(dir, "log", ledger.streamId, "00000001.open");
    expect(fs.readFileSync(file).includes("READ")).toBe(true);
  });

  test("spans that are malformed are left to the caller", async () => {
    const ledger = await open();
    const index = spans(["a", "b", "c"]);
    const bytes = Buffer.from(index.bytes);
    // A wire type that the name does not have.
    bytes[bytes.indexOf(Buffer.from([0x2a, 1, 0x6e]))] = 0x2d;
    const result = await ledger.append(scanTraces(bytes), SPAN_AUDIT, FACTS);
    expect(result).toEqual({ accepted: 2, duplicates: 0, conflicts: 0, rejected: [] });
  });

  test("a span that cannot be encoded is rejected alone", async () => {
    const ledger = await open();
    const index = spans(["a", "b", "c"]);
    // Not what scanTraces gives: the second span ends too early.
    index.end[1]! -= 3;
    const result = await ledger.append(index, SPAN_AUDIT, FACTS);
    expect(result).toMatchObject({ accepted: 2, rejected: [{ span: 1 }] });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "c"]);
  });

  test("the request's bytes may be reused as soon as append has returned", async () => {
    const ledger = await open();
    const index = spans(["a", "b"]);
    const done = ledger.append(index, SPAN_AUDIT, FACTS);
    index.bytes.fill(0);
    await done;
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b"]);
  });
});

describe("once (O3, O4)", () => {
  test("a retry is acknowledged without a row, also within one request", async () => {
    const ledger = await open();
    expect(await append(ledger, ["a", "b"])).toMatchObject({ accepted: 2 });
    expect(await append(ledger, ["a", "b"])).toMatchObject({ accepted: 0, duplicates: 2 });
    const twice = spans(["c"]);
    const doubled = scanTraces(Buffer.concat([twice.bytes, twice.bytes]));
    expect(await ledger.append(doubled, SPAN_AUDIT, FACTS)).toMatchObject({ accepted: 1, duplicates: 1 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b", "c"]);
  });

  test("the same id of another principal is another record", async () => {
    const ledger = await open();
    await append(ledger, ["a"]);
    expect(await append(ledger, ["a"], "", { ...FACTS, principal: "q" })).toMatchObject({ accepted: 1, conflicts: 0 });
  });

  test("the same id with other content is stored, flagged and told", async () => {
    const ledger = await open();
    await append(ledger, ["a"], "one");
    expect(await append(ledger, ["a"], "two")).toMatchObject({ accepted: 1, conflicts: 1 });
    expect(await append(ledger, ["a"], "two")).toMatchObject({ accepted: 0, duplicates: 1, conflicts: 0 });
    await ledger.rotate();
    expect((await rows(ledger)).map((row) => Number(row["Flags"]) & RowFlag.Conflict)).toEqual([0, RowFlag.Conflict]);
    expect(alarms).toMatchObject([{ code: "CONFLICT", message: "records that came again with other content: 1" }]);
  });

  test("many conflicts of a request are one alarm, which has none of their ids; one that is refused has none", async () => {
    const ledger = await open({ maxLogBytes: 20_000 });
    const ids = Array.from({ length: 20 }, (_, i) => `my secret id ${i}`);
    await append(ledger, ids, "one");
    await append(ledger, ids, "two");
    expect(alarms).toEqual([{ code: "CONFLICT", message: "records that came again with other content: 20" }]);
    await expect(append(ledger, ["my secret id 0"], "x".repeat(20_000))).rejects.toMatchObject({ code: "LOG_FULL" });
    expect(alarms.length).toBe(1);
  });

  test("a duplicate waits for the sync of its first copy, and fails with it", async () => {
    const io = gatedIo();
    const ledger = await open({ io });
    const order: string[] = [];
    const first = append(ledger, ["a"]).then(() => order.push("first"));
    await io.reached();
    const second = append(ledger, ["a"]).then((result) => order.push(`second ${result.duplicates}`));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(order).toEqual([]);
    io.open();
    await Promise.all([first, second]);
    expect(order).toEqual(["first", "second 1"]);
    io.fail = true;
    const failing = [append(ledger, ["b"]), append(ledger, ["b"])];
    for (const result of await Promise.allSettled(failing)) {
      expect(result).toMatchObject({ status: "rejected", reason: { code: "IO", retryable: true } });
    }
    io.fail = false;
    expect(await append(ledger, ["b"])).toMatchObject({ accepted: 1, duplicates: 0 });
  });

  test("rows that the table has are known when the window was refilled", async () => {
    const first = await open();
    await append(first, ["a"]);
    await first.rotate();
    const [row] = await rows(first);
    const ledger = await open();
    ledger.window.remember(
      String(row!["Principal"]),
      String(row!["RecordId"]),
      Buffer.from(String(row!["ContentHash"]), "hex"),
    );
    expect(await append(ledger, ["a"])).toMatchObject({ accepted: 0, duplicates: 1 });
  });
});

describe("segments (L4)", () => {
  test("close by rows, across one append too", async () => {
    const closed: number[] = [];
    const ledger = await open({ maxSegmentRows: 4, onSegmentClosed: ({ count }) => closed.push(count) });
    await append(
      ledger,
      Array.from({ length: 10 }, (_, i) => `r${i}`),
    );
    await append(ledger, ["s"]);
    expect(closed).toEqual([4, 4]);
    await ledger.rotate();
    expect(closed).toEqual([4, 4, 3]);
    expect(await idsOf(ledger)).toEqual([...Array.from({ length: 10 }, (_, i) => `r${i}`), "s"]);
    expect(ledger.closedSegments().map(({ number }) => number)).toEqual([1, 2, 3]);
  });

  test("close by bytes and never exceed them", async () => {
    const ledger = await open({ maxSegmentBytes: 256 * 1024 });
    for (let i = 0; i < 12; i++) await append(ledger, [`r${i}`], "x".repeat(60_000));
    await ledger.rotate();
    expect(ledger.closedSegments().map(({ count }) => count)).toEqual([4, 4, 4]);
    for (const { bytes } of ledger.closedSegments()) expect(bytes).toBeLessThanOrEqual(256 * 1024);
    expect(await rows(ledger)).toHaveLength(12);
  });

  test("close by age, without anybody asking", async () => {
    const closed = Promise.withResolvers<void>();
    const ledger = await open({ maxSegmentAgeMs: 20, onSegmentClosed: () => closed.resolve() });
    await append(ledger, ["a"]);
    await closed.promise;
    expect(await idsOf(ledger)).toEqual(["a"]);
  });

  test("live longer the more closed segments wait for export", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      const ledger = await open({ maxSegmentAgeMs: 1000 });
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
      const ledger = await open({ maxSegmentAgeMs: 20_000 });
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
    const ledger = await open({ now: () => now });
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
    expect((await rows(ledger)).map((row) => row["ReceivedAt"])).toEqual([times[0], times[1], times[1], times[3]]);
  });

  test("a clock that was wrong and is set right: ReceivedAt follows it, said once, and the age of what waits is true", async () => {
    const [right, wrong] = [ns("2026-11-30T00:00:00Z"), ns("2036-11-30T00:00:00Z")];
    const alarms: LedgerAlarm[] = [];
    let now = wrong;
    const ledger = await open({ now: () => now, onAlarm: (alarm) => alarms.push(alarm) });
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
    expect((await rows(ledger)).map((row) => row["ReceivedAt"])).toEqual([wrong, right, right]);
    expect(ledger.closedSegments().map(({ partition }) => partition)).toEqual(["203611", "202611"]);
  });

  test("rotation of nothing is nothing; removal forgets the file", async () => {
    const ledger = await open();
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
    const ledger = await open({
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

describe("refusal", () => {
  test("above maxPendingBytes, and nothing of the refused request is left", async () => {
    const io = gatedIo();
    const ledger = await open({ io, maxPendingBytes: 2000 });
    const first = append(ledger, ["a"], "x".repeat(3000));
    await io.reached();
    await expect(append(ledger, ["b"])).rejects.toMatchObject({ code: "OVERLOADED", retryable: true });
    io.open();
    await first;
    expect(await append(ledger, ["b"])).toMatchObject({ accepted: 1, duplicates: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b"]);
  });

  test("above maxLogBytes until segments are removed, and nothing of the refused request is left", async () => {
    const ledger = await open({ maxLogBytes: 5000, nameOf: (bound) => `their ${bound}` });
    await append(ledger, ["a"], "x".repeat(3000));
    await expect(append(ledger, ["b"], "x".repeat(3000))).rejects.toMatchObject({
      code: "LOG_FULL",
      retryable: true,
      message: expect.stringMatching(
        /^\d+ bytes wait for export, with this request \d+; their maxLogBytes is 5000$/,
      ) as string,
    });
    await ledger.rotate();
    await ledger.removeSegment(ledger.closedSegments()[0]!);
    expect(await append(ledger, ["b"], "x".repeat(3000))).toMatchObject({ accepted: 1, duplicates: 0 });
    await ledger.rotate();
    expect((await rows(ledger)).map((row) => row["Sequence"])).toEqual([2n]);
  });

  test("after close", async () => {
    const ledger = await open();
    const last = append(ledger, ["a"]);
    const closing = ledger.close();
    await expect(append(ledger, ["b"])).rejects.toMatchObject({ code: "CLOSED" });
    await Promise.all([last, closing, ledger.close()]);
    expect(await idsOf(ledger)).toEqual(["a"]);
  });

  test.each([
    [{ maxSegmentRows: 250_001 }, "maxSegmentRows is 250001, must be an integer from 1 to 250000"],
    [{ maxSegmentBytes: 1 }, "maxSegmentBytes is 1"],
    [{ maxSegmentAgeMs: 0.5 }, "maxSegmentAgeMs is 0.5"],
    [{ windowKeys: 0 }, "windowKeys is 0"],
    [{ dir: "" }, "dir is empty"],
  ])("of options out of range: %o", async (options, message) => {
    await expect(open(options)).rejects.toThrow(message);
  });

  test("of a directory that is in use", async () => {
    const dir = tempDir("ledger");
    await open({ dir });
    await expect(open({ dir })).rejects.toMatchObject({ code: "LOCKED" });
  });
});

describe("a disk that fails (L2)", () => {
  test("rows, and the name of a new file, are synced before the acknowledgement", async () => {
    const dir = tempDir("ledger");
    const done: string[] = [];
    const io: FileIo = {
      ...nodeFileIo,
      datasync: async (fd) => {
        await nodeFileIo.datasync(fd);
        done.push("data");
      },
      syncDirectory: async (directory) => {
        await nodeFileIo.syncDirectory(directory);
        done.push(path.relative(dir, directory).replace(/[0-9a-f-]{36}/, "stream"));
      },
    };
    const ledger = await open({ dir, io });
    done.length = 0;
    await append(ledger, ["a"]);
    expect(done).toEqual(["data", "log/stream"]);
    await append(ledger, ["b"]);
    expect(done).toEqual(["data", "log/stream", "data"]);
    await ledger.rotate();
    expect(done).toEqual(["data", "log/stream", "data", "data", "log/stream"]);
  });

  test("after one failed sync the rows are in a new file, acknowledged once, without a gap", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io });
    await append(ledger, ["a", "b"]);
    io.failOnce = true;
    const both = await Promise.all([append(ledger, ["c"]), append(ledger, ["a", "d"])]);
    expect(both).toMatchObject([{ accepted: 1 }, { accepted: 1, duplicates: 1 }]);
    await append(ledger, ["e"]);
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b", "c", "d", "e"]);
    expect((await rows(ledger)).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(alarms).toMatchObject([{ code: "SYNC_FAILED" }]);
    // The file whose sync failed is gone and was not synced again.
    const names = fs.readdirSync(path.dirname(ledger.closedSegments()[0]!.path)).toSorted();
    expect(names).toEqual(["00000002.segment", "00000003.segment"]);
    expect(io.syncedAfterFailure()).toEqual([]);
  });

  test("the buffers of large appends are used again: each row keeps its own content", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io });
    const expected: [id: string, note: string][] = [];
    for (let round = 0; round < 6; round++) {
      io.failOnce = round === 3;
      const appends = Array.from({ length: 6 }, (_, lane) => {
        const ids = Array.from({ length: 50 + 40 * lane }, (_, i) => `${round}-${lane}-${i}`);
        const note = `${round}${lane}`.repeat(250);
        expected.push(...ids.map((id): [string, string] => [id, note]));
        return append(ledger, ids, note);
      });
      await Promise.all(appends);
    }
    await ledger.rotate();
    const stored = (await rows(ledger)).map((row) => [row["RecordId"], row["SpanAttributes"]]);
    expect(stored).toEqual(expected.map(([id, note]) => [id, { note }]));
  });

  test("the very first sync of a stream", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io });
    io.failOnce = true;
    expect(await append(ledger, ["a"])).toMatchObject({ accepted: 1 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a"]);
  });

  test("the sync of a footer", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io });
    await append(ledger, ["a"]);
    io.failOnce = true;
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a"]);
    await append(ledger, ["b"]);
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b"]);
  });

  test("for longer: refused, nothing acknowledged, and it goes on when the disk does", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io });
    await append(ledger, ["a"]);
    io.fail = true;
    for (let i = 0; i < 3; i++) {
      await expect(append(ledger, ["b", "c"])).rejects.toMatchObject({ code: "IO", retryable: true });
    }
    await expect(ledger.rotate()).rejects.toMatchObject({ code: "IO" });
    io.fail = false;
    expect(await append(ledger, ["b", "c"])).toMatchObject({ accepted: 2, duplicates: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b", "c"]);
    expect((await rows(ledger)).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n]);
    expect(io.syncedAfterFailure()).toEqual([]);
  });

  test("in the middle of an append over two segments: what is stored is known to the retry", async () => {
    const io = gatedIo(true);
    const ledger = await open({ io, maxSegmentRows: 2 });
    io.failAfter = 2;
    await expect(append(ledger, ["a", "b", "c", "d"])).rejects.toMatchObject({ code: "IO" });
    io.failAfter = undefined;
    io.fail = false;
    expect(await append(ledger, ["a", "b", "c", "d"])).toMatchObject({ accepted: 2, duplicates: 2 });
    await ledger.rotate();
    expect(await idsOf(ledger)).toEqual(["a", "b", "c", "d"]);
  });

  test("a full disk: refused while it is full, taken when there is space, nothing lost or doubled", async () => {
    const disk = smallDisk();
    try {
      const ledger = await open({ dir: disk.dir, io: disk.io, minFreeBytes: 0 });
      await append(ledger, ["a"]);
      const accepted = ["a"];
      let refused = 0;
      for (let i = 0; refused < 3; i++) {
        const id = `r${i}`;
        const result = await append(ledger, [id], "x".repeat(50_000)).catch((error: { code: string }) => error.code);
        if (result === "IO") refused++;
        else accepted.push(id);
      }
      expect(accepted.length).toBeGreaterThan(5);
      disk.grow();
      await append(ledger, ["z"], "x".repeat(50_000));
      await ledger.rotate();
      expect(await idsOf(ledger)).toEqual([...accepted, "z"]);
      expect(alarms).toEqual([]);
      await ledger.close();
    } finally {
      disk.remove();
    }
  });

  test("a full disk at the start of a segment: the file without rows goes, and the sequence goes on", async () => {
    const disk = smallDisk();
    try {
      const ledger = await open({ dir: disk.dir, io: disk.io, maxSegmentRows: 1, minFreeBytes: 0 });
      const accepted: string[] = [];
      let refused = 0;
      for (let i = 0; refused < 3; i++) {
        const result = await append(ledger, [`r${i}`], "x".repeat(50_000)).catch(
          (error: { code: string }) => error.code,
        );
        if (result === "IO") refused++;
        else accepted.push(`r${i}`);
      }
      disk.grow();
      await append(ledger, ["z"]);
      await ledger.rotate();
      expect(await idsOf(ledger)).toEqual([...accepted, "z"]);
      expect((await rows(ledger)).map((row) => row["Sequence"])).toEqual(
        [...accepted, "z"].map((_, i) => BigInt(i + 1)),
      );
      await ledger.close();
    } finally {
      disk.remove();
    }
  });
});

/** Half a MiB: a file system of its own where this process may mount one, else a budget in front of the real one. */
function smallDisk(): { dir: string; io: FileIo; grow: () => void; remove: () => void } {
  const disk = mountSmallDisk("512k");
  if (disk)
    return { dir: path.join(disk.dir, "data"), io: nodeFileIo, grow: () => disk.resize("8m"), remove: disk.remove };
  let budget = 512 * 1024;
  const write: FileIo["write"] = async (fd, bytes, offset, length, position) => {
    const some = Math.min(length, budget);
    if (some === 0) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    budget -= some;
    return nodeFileIo.write(fd, bytes, offset, some, position);
  };
  const io = { ...nodeFileIo, write };
  return { dir: tempDir("disk"), io, grow: () => (budget = Infinity), remove: () => undefined };
}

interface GatedIo extends FileIo {
  /** Resolves when a sync of a data file has started and waits. */
  reached(): Promise<void>;
  open(): void;
  fail: boolean;
  failOnce: boolean;
  /** Fails all syncs after this many more. */
  failAfter: number | undefined;
  /** Files that were synced again after their sync had failed. */
  syncedAfterFailure(): string[];
}

/** The real file system with a gate and a fault in front of fdatasync. */
function gatedIo(openFromStart = false): GatedIo {
  const gate = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const names = new Map<number, string>();
  const failed = new Set<string>();
  const again: string[] = [];
  if (openFromStart) gate.resolve();
  gates.add(() => gate.resolve());
  const io: GatedIo = {
    ...nodeFileIo,
    fail: false,
    failOnce: false,
    failAfter: undefined,
    reached: () => arrived.promise,
    open: () => gate.resolve(),
    syncedAfterFailure: () => again,
    create: async (file) => {
      const fd = await nodeFileIo.create(file);
      names.set(fd, file);
      return fd;
    },
    datasync: async (fd) => {
      arrived.resolve();
      await gate.promise;
      const name = names.get(fd) ?? "";
      if (failed.has(name)) again.push(name);
      if (io.failAfter !== undefined && io.failAfter-- <= 0) io.fail = true;
      if (io.fail || io.failOnce) {
        io.failOnce = false;
        failed.add(name);
        throw Object.assign(new Error("EIO: i/o error, fdatasync"), { code: "EIO" });
      }
      await nodeFileIo.datasync(fd);
    },
  };
  return io;
}
