// A disk that does not confirm, or is full: what was acknowledged is stored once, what was not is refused (rule L2).
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { faultyIo, smallDisk } from "./testing/disks.ts";
import { openLedger } from "./testing/open-ledger.ts";
import { append } from "./testing/records.ts";
import { idsOf, rowsOf } from "./testing/stored-rows.ts";
import type { LedgerAlarm } from "./types.ts";

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
    const ledger = await openLedger({ dir, io });
    done.length = 0;
    await append(ledger, ["a"]);
    expect(done).toEqual(["data", "log/stream"]);
    await append(ledger, ["b"]);
    expect(done).toEqual(["data", "log/stream", "data"]);
    await ledger.rotate();
    expect(done).toEqual(["data", "log/stream", "data", "data", "log/stream"]);
  });

  test("after one failed sync the rows are in a new file, acknowledged once, without a gap", async () => {
    const alarms: LedgerAlarm[] = [];
    const io = faultyIo();
    const ledger = await openLedger({ onAlarm: (alarm) => alarms.push(alarm), io });
    await append(ledger, ["a", "b"]);
    io.failOnce = true;
    const both = await Promise.all([append(ledger, ["c"]), append(ledger, ["a", "d"])]);
    expect(both).toMatchObject([{ accepted: 1 }, { accepted: 1, duplicates: 1 }]);
    await append(ledger, ["e"]);
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c", "d", "e"]);
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n, 4n, 5n]);
    expect(alarms).toMatchObject([{ code: "SYNC_FAILED" }]);
    // The file whose sync failed is gone and was not synced again.
    const names = fs.readdirSync(path.dirname(ledger.closedSegments()[0]!.path)).toSorted();
    expect(names).toEqual(["00000002.segment", "00000003.segment"]);
    expect(io.syncedAfterFailure()).toEqual([]);
  });

  test("the buffers of large appends are used again: each row keeps its own content", async () => {
    const io = faultyIo();
    const ledger = await openLedger({ io });
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
    const stored = (await rowsOf(ledger.closedSegments())).map((row) => [row["RecordId"], row["SpanAttributes"]]);
    expect(stored).toEqual(expected.map(([id, note]) => [id, { note }]));
  });

  test("the very first sync of a stream", async () => {
    const io = faultyIo();
    const ledger = await openLedger({ io });
    io.failOnce = true;
    expect(await append(ledger, ["a"])).toMatchObject({ accepted: 1 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a"]);
  });

  test("the sync of a footer", async () => {
    const io = faultyIo();
    const ledger = await openLedger({ io });
    await append(ledger, ["a"]);
    io.failOnce = true;
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a"]);
    await append(ledger, ["b"]);
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b"]);
  });

  test("for longer: refused, nothing acknowledged, and it goes on when the disk does", async () => {
    const io = faultyIo();
    const ledger = await openLedger({ io });
    await append(ledger, ["a"]);
    io.fail = true;
    for (let i = 0; i < 3; i++) {
      await expect(append(ledger, ["b", "c"])).rejects.toMatchObject({ code: "IO", retryable: true });
    }
    await expect(ledger.rotate()).rejects.toMatchObject({ code: "IO" });
    io.fail = false;
    expect(await append(ledger, ["b", "c"])).toMatchObject({ accepted: 2, duplicates: 0 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c"]);
    expect((await rowsOf(ledger.closedSegments())).map((row) => row["Sequence"])).toEqual([1n, 2n, 3n]);
    expect(io.syncedAfterFailure()).toEqual([]);
  });

  test("in the middle of an append over two segments: what is stored is known to the retry", async () => {
    const io = faultyIo();
    const ledger = await openLedger({ io, maxSegmentRows: 2 });
    io.failAfter = 2;
    await expect(append(ledger, ["a", "b", "c", "d"])).rejects.toMatchObject({ code: "IO" });
    io.failAfter = undefined;
    io.fail = false;
    expect(await append(ledger, ["a", "b", "c", "d"])).toMatchObject({ accepted: 2, duplicates: 2 });
    await ledger.rotate();
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c", "d"]);
  });

  test("a full disk: refused while it is full, taken when there is space, nothing lost or doubled", async () => {
    const alarms: LedgerAlarm[] = [];
    const disk = smallDisk(512 * 1024);
    try {
      const ledger = await openLedger({
        onAlarm: (alarm) => alarms.push(alarm),
        dir: disk.dir,
        io: disk.io,
        minFreeBytes: 0,
      });
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
      disk.resize(8 * 1024 * 1024);
      await append(ledger, ["z"], "x".repeat(50_000));
      await ledger.rotate();
      expect(await idsOf(ledger.closedSegments())).toEqual([...accepted, "z"]);
      expect(alarms).toEqual([]);
      await ledger.close();
    } finally {
      disk.remove();
    }
  });

  test("a full disk at the start of a segment: the file without rows goes, and the sequence goes on", async () => {
    const disk = smallDisk(512 * 1024);
    try {
      const ledger = await openLedger({ dir: disk.dir, io: disk.io, maxSegmentRows: 1, minFreeBytes: 0 });
      const accepted: string[] = [];
      let refused = 0;
      for (let i = 0; refused < 3; i++) {
        const result = await append(ledger, [`r${i}`], "x".repeat(50_000)).catch(
          (error: { code: string }) => error.code,
        );
        if (result === "IO") refused++;
        else accepted.push(`r${i}`);
      }
      disk.resize(8 * 1024 * 1024);
      await append(ledger, ["z"]);
      await ledger.rotate();
      expect(await idsOf(ledger.closedSegments())).toEqual([...accepted, "z"]);
      expect((await rowsOf(ledger.closedSegments())).map((row) => row["Sequence"])).toEqual(
        [...accepted, "z"].map((_, i) => BigInt(i + 1)),
      );
      await ledger.close();
    } finally {
      disk.remove();
    }
  });
});
