import * as fs from "node:fs";
import * as path from "node:path";
import { SPAN_AUDIT, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { RowFlag } from "./row-format.ts";
import { gatedIo } from "./testing/disks.ts";
import { openLedger } from "./testing/open-ledger.ts";
import { FACTS, SPAN, append, auditSpans } from "./testing/records.ts";
import { idsOf, rowsOf } from "./testing/stored-rows.ts";
import type { LedgerAlarm } from "./types.ts";

describe("append", () => {
  test("stores what the mask names, in order, with gap-free sequences from 1", async () => {
    const ledger = await openLedger();
    expect(await append(ledger, ["a", "b"])).toEqual({ accepted: 2, duplicates: 0, conflicts: 0, rejected: [] });
    expect(
      await ledger.append(scanTraces(frameSpans({}, { name: "" }, [encodeSpan(SPAN)])), SPAN_AUDIT, FACTS),
    ).toMatchObject({ accepted: 0 });
    await Promise.all(["c", "d", "e"].map((id) => append(ledger, [id])));
    expect(ledger.stats()).toMatchObject({ openRows: 5, segments: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c", "d", "e"]);
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(ledger.stats()).toMatchObject({ openRows: 0, openBytes: 0, segments: 1 });
  });

  test("rows are on disk when it resolves: another reader finds them", async () => {
    const dir = tempDir("ledger");
    const ledger = await openLedger({ dir });
    await append(ledger, ["a"]);
    const file = path.join(dir, "log", ledger.streamId, "00000001.open");
    expect(fs.readFileSync(file).includes("READ")).toBe(true);
  });

  test("spans that are malformed are left to the caller", async () => {
    const ledger = await openLedger();
    const index = auditSpans(["a", "b", "c"]);
    const bytes = Buffer.from(index.bytes);
    // A wire type that the name does not have.
    bytes[bytes.indexOf(Buffer.from([0x2a, 1, 0x6e]))] = 0x2d;
    const result = await ledger.append(scanTraces(bytes), SPAN_AUDIT, FACTS);
    expect(result).toEqual({ accepted: 2, duplicates: 0, conflicts: 0, rejected: [] });
  });

  test("a span that cannot be encoded is rejected alone", async () => {
    const ledger = await openLedger();
    const index = auditSpans(["a", "b", "c"]);
    // Not what scanTraces gives: the second span ends too early.
    index.end[1]! -= 3;
    const result = await ledger.append(index, SPAN_AUDIT, FACTS);
    expect(result).toMatchObject({ accepted: 2, rejected: [{ span: 1 }] });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "c"]);
  });

  test("the request's bytes may be reused as soon as append has returned", async () => {
    const ledger = await openLedger();
    const index = auditSpans(["a", "b"]);
    const done = ledger.append(index, SPAN_AUDIT, FACTS);
    index.bytes.fill(0);
    await done;
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b"]);
  });
});

describe("once (O3, O4)", () => {
  test("a retry is acknowledged without a row, also within one request", async () => {
    const ledger = await openLedger();
    expect(await append(ledger, ["a", "b"])).toMatchObject({ accepted: 2 });
    expect(await append(ledger, ["a", "b"])).toMatchObject({ accepted: 0, duplicates: 2 });
    const twice = auditSpans(["c"]);
    const doubled = scanTraces(Buffer.concat([twice.bytes, twice.bytes]));
    expect(await ledger.append(doubled, SPAN_AUDIT, FACTS)).toMatchObject({ accepted: 1, duplicates: 1 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c"]);
  });

  test("the same id of another principal is another record", async () => {
    const ledger = await openLedger();
    await append(ledger, ["a"]);
    expect(await append(ledger, ["a"], "", { ...FACTS, principal: "q" })).toMatchObject({ accepted: 1, conflicts: 0 });
  });

  test("the same id with other content is stored, flagged and told", async () => {
    const alarms: LedgerAlarm[] = [];
    const ledger = await openLedger({ onAlarm: (alarm) => alarms.push(alarm) });
    await append(ledger, ["a"], "one");
    expect(await append(ledger, ["a"], "two")).toMatchObject({ accepted: 1, conflicts: 1 });
    expect(await append(ledger, ["a"], "two")).toMatchObject({ accepted: 0, duplicates: 1, conflicts: 0 });
    await ledger.rotate();
    expect((await rowsOf(ledger.closedSegments())).map((row) => Number(row["Flags"]) & RowFlag.Conflict)).toEqual([
      0,
      RowFlag.Conflict,
    ]);
    expect(alarms).toMatchObject([{ code: "CONFLICT", message: "records that came again with other content: 1" }]);
  });

  test("many conflicts of a request are one alarm, which has none of their ids; one that is refused has none", async () => {
    const alarms: LedgerAlarm[] = [];
    const ledger = await openLedger({ onAlarm: (alarm) => alarms.push(alarm), maxLogBytes: 20_000 });
    const ids = Array.from({ length: 20 }, (_, i) => `my secret id ${i}`);
    await append(ledger, ids, "one");
    await append(ledger, ids, "two");
    expect(alarms).toEqual([{ code: "CONFLICT", message: "records that came again with other content: 20" }]);
    await expect(append(ledger, ["my secret id 0"], "x".repeat(20_000))).rejects.toMatchObject({ code: "LOG_FULL" });
    expect(alarms.length).toBe(1);
  });

  test("a duplicate waits for the sync of its first copy, and fails with it", async () => {
    const io = gatedIo();
    const ledger = await openLedger({ io });
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
    const first = await openLedger();
    await append(first, ["a"]);
    await first.rotate();
    const [row] = await rowsOf(first.closedSegments());
    const ledger = await openLedger();
    ledger.window.remember(
      String(row!["Principal"]),
      String(row!["RecordId"]),
      Buffer.from(String(row!["ContentHash"]), "hex"),
    );
    expect(await append(ledger, ["a"])).toMatchObject({ accepted: 0, duplicates: 1 });
  });
});

describe("refusal", () => {
  test("above maxPendingBytes, and nothing of the refused request is left", async () => {
    const io = gatedIo();
    const ledger = await openLedger({ io, maxPendingBytes: 2000 });
    const first = append(ledger, ["a"], "x".repeat(3000));
    await io.reached();
    await expect(append(ledger, ["b"])).rejects.toMatchObject({ code: "OVERLOADED", retryable: true });
    io.open();
    await first;
    expect(await append(ledger, ["b"])).toMatchObject({ accepted: 1, duplicates: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b"]);
  });

  test("above maxLogBytes until segments are removed, and nothing of the refused request is left", async () => {
    const ledger = await openLedger({ maxLogBytes: 5000, nameOf: (bound) => `their ${bound}` });
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
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["Sequence"])).toEqual([2n]);
  });

  test("after close", async () => {
    const ledger = await openLedger();
    const last = append(ledger, ["a"]);
    const closing = ledger.close();
    await expect(append(ledger, ["b"])).rejects.toMatchObject({ code: "CLOSED" });
    await Promise.all([last, closing, ledger.close()]);
    expect(await idsOf(ledger.closedSegments())).toEqual(["a"]);
  });

  test.each([
    [{ maxSegmentRows: 250_001 }, "maxSegmentRows is 250001, must be an integer from 1 to 250000"],
    [{ maxSegmentBytes: 1 }, "maxSegmentBytes is 1"],
    [{ maxSegmentAgeMs: 0.5 }, "maxSegmentAgeMs is 0.5"],
    [{ windowKeys: 0 }, "windowKeys is 0"],
    [{ dir: "" }, "dir is empty"],
  ])("of options out of range: %o", async (options, message) => {
    await expect(openLedger(options)).rejects.toThrow(message);
  });

  test("of a directory that is in use", async () => {
    const dir = tempDir("ledger");
    await openLedger({ dir });
    await expect(openLedger({ dir })).rejects.toMatchObject({ code: "LOCKED" });
  });
});
