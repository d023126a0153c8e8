import { describe, expect, test } from "vitest";
import { LedgerDirectory } from "./directory.ts";
import { Ledger } from "./ledger.ts";
import { gatedIo } from "./testing/disks.ts";
import { closeLater } from "./testing/open-ledger.ts";
import { append } from "./testing/records.ts";
import { idsOf } from "./testing/stored-rows.ts";
import { openDirectory, stateOf } from "./testing/streams.ts";
import type { LedgerOptions } from "./types.ts";

async function join(
  { dir, directory }: { dir: string; directory: LedgerDirectory },
  writer: number,
  options: Partial<LedgerOptions> = {},
): Promise<Ledger> {
  const ledger = await Ledger.join(
    { dir, maxSegmentAgeMs: 60_000, onAlarm: () => undefined, ...options },
    directory.share,
    writer,
  );
  closeLater(() => ledger.close());
  return ledger;
}

describe("streams of one directory", () => {
  test("a duplicate waits until the other stream has synced the first copy", async () => {
    const shared = await openDirectory();
    const disk = gatedIo();
    const first = await join(shared, 0, { io: disk });
    const second = await join(shared, 1);
    const original = append(first, ["a", "b"]);
    await disk.reached();
    const copy = append(second, ["b", "c"]);
    expect(await stateOf(copy)).toBe("waits");
    disk.open();
    expect(await original).toMatchObject({ accepted: 2 });
    expect(await copy).toMatchObject({ accepted: 1, duplicates: 1 });
    // Synced by now: nothing to wait for.
    expect(await append(second, ["a", "b", "c"])).toMatchObject({ accepted: 0, duplicates: 3 });
    await Promise.all([first.rotate(), second.rotate()]);
    expect((await idsOf([...first.closedSegments(), ...second.closedSegments()])).toSorted()).toEqual(["a", "b", "c"]);
  });

  test("a duplicate is refused when the other stream could not sync the first copy; its retry is stored", async () => {
    const shared = await openDirectory();
    const disk = gatedIo();
    const first = await join(shared, 0, { io: disk });
    const second = await join(shared, 1);
    const original = append(first, ["a"]);
    await disk.reached();
    const copy = append(second, ["a", "b"]);
    expect(await stateOf(copy)).toBe("waits");
    disk.fail = true;
    disk.open();
    await expect(original).rejects.toMatchObject({ code: "IO", retryable: true });
    await expect(copy).rejects.toMatchObject({ code: "IO", retryable: true });
    expect(await append(second, ["a", "b"])).toMatchObject({ accepted: 1, duplicates: 1 });
    await second.rotate();
    expect((await idsOf(second.closedSegments())).toSorted()).toEqual(["a", "b"]);
  });

  test("a conflict with a record of another stream is stored and marked, its retry is a duplicate", async () => {
    const shared = await openDirectory();
    const first = await join(shared, 0);
    const second = await join(shared, 1);
    await append(first, ["a"], "one");
    expect(await append(second, ["a"], "other")).toMatchObject({ accepted: 1, conflicts: 1 });
    expect(await append(first, ["a"], "other")).toMatchObject({ accepted: 0, duplicates: 1 });
  });

  test("what the log may hold is counted over all streams, and so is what waits for the disk", async () => {
    const shared = await openDirectory();
    const bounds = { maxLogBytes: 600, maxPendingBytes: 300 };
    const disk = gatedIo();
    const first = await join(shared, 0, { ...bounds, io: disk });
    const second = await join(shared, 1, bounds);
    const waiting = append(first, ["a"]);
    await disk.reached();
    await expect(append(second, ["b"])).rejects.toMatchObject({ code: "OVERLOADED" });
    disk.open();
    await waiting;
    await append(second, ["b"]);
    await expect(append(second, ["c"])).rejects.toMatchObject({ code: "LOG_FULL" });
    await first.rotate();
    for (const segment of first.closedSegments()) await first.removeSegment(segment);
    expect(await append(second, ["c"])).toMatchObject({ accepted: 1 });
  });

  test("a refused append leaves nothing that another stream would take for a first copy", async () => {
    const shared = await openDirectory();
    const first = await join(shared, 0, { maxLogBytes: 1 });
    const second = await join(shared, 1);
    await expect(append(first, ["a"])).rejects.toMatchObject({ code: "LOG_FULL" });
    expect(await append(second, ["a"])).toMatchObject({ accepted: 1 });
  });

  test("what an earlier process left belongs to stream 0", async () => {
    const shared = await openDirectory();
    const before = await join(shared, 1);
    await append(before, ["a"]);
    await before.close();
    await shared.directory.close();
    const directory = await LedgerDirectory.open({ dir: shared.dir, windowKeys: 10 });
    closeLater(() => directory.close());
    const again = { dir: shared.dir, directory };
    const other = await join(again, 1);
    const first = await join(again, 0);
    expect(other.closedSegments()).toEqual([]);
    expect(await idsOf(first.closedSegments())).toEqual(["a"]);
    expect(await append(other, ["a"])).toMatchObject({ duplicates: 1 });
    await expect(Ledger.open({ dir: shared.dir })).rejects.toMatchObject({ code: "LOCKED" });
  });

  test("a directory that cannot be made is an error at once", async () => {
    await expect(Ledger.open({ dir: "/proc/x/data" })).rejects.toMatchObject({ code: "IO" });
  });

  test.each([-1, 64, 0.5])("refuses writer %d", async (writer) => {
    const { dir, directory } = await openDirectory();
    await expect((async () => Ledger.join({ dir }, directory.share, writer))()).rejects.toThrow(`writer is ${writer}`);
  });
});
