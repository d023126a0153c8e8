import * as fs from "node:fs";
import * as path from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { startProcess, tempDir } from "../../../test/support/index.ts";
import { FRAME_HEADER_BYTES } from "./frame.ts";
import { scanFrames } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { LedgerError } from "./errors.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";
import { uuidBytes } from "./row-decode.ts";
import { encodeHeader, parseSegmentFile } from "./segment-file.ts";
import { readSegment } from "./segment-rows.ts";
import { append } from "./testing/records.ts";
import { idsOf } from "./testing/stored-rows.ts";
import type { ClosedSegment, LedgerAlarm } from "./types.ts";

const MODULES = ["ledger.ts", "testing/records.ts"].map((file) => new URL(file, import.meta.url).href);

/** Appends until it is killed and says on stdout which record ids were acknowledged. */
const WRITER = `
  const [ledgerModule, recordsModule, dir, maxSegmentRows] = process.argv.slice(1);
  const { Ledger } = await import(ledgerModule);
  const { append } = await import(recordsModule);
  const ledger = await Ledger.open({ dir, maxSegmentRows: Number(maxSegmentRows), windowKeys: 100000 });
  let next = 0;
  async function lane() {
    for (;;) {
      const ids = Array.from({ length: 1 + (next % 7) }, () => "r" + next++);
      await append(ledger, ids);
      process.stdout.write(ids.join("\\n") + "\\n");
    }
  }
  await Promise.all([lane(), lane(), lane(), lane()]);
`;

async function open(dir: string, alarms: LedgerAlarm[] = []): Promise<Ledger> {
  return Ledger.open({ dir, windowKeys: 100_000, maxSegmentAgeMs: 60_000, onAlarm: (alarm) => alarms.push(alarm) });
}

/** A data directory as a killed process leaves it: an open file whose rows were synced one append after the other. */
async function abandoned(
  appends: readonly (readonly string[])[],
): Promise<{ dir: string; file: string; bytes: Buffer }> {
  const source = tempDir("abandoned");
  const ledger = await open(source);
  for (const ids of appends) await append(ledger, ids);
  // The mark behind the last sync is written a moment after the acknowledgement.
  const from = path.join(source, "log", ledger.streamId, "00000001.open");
  await expect
    .poll(() =>
      scanFrames(fs.readFileSync(from))
        .kind.subarray(0, scanFrames(fs.readFileSync(from)).count)
        .at(-1),
    )
    .toBe(3);
  const bytes = fs.readFileSync(from);
  await ledger.close();
  const dir = tempDir("recovery");
  const file = path.join(dir, "log", ledger.streamId, "00000001.open");
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, bytes);
  return { dir, file, bytes };
}

async function recovered(
  dir: string,
): Promise<{ ids: string[]; segments: readonly ClosedSegment[]; alarms: LedgerAlarm[] }> {
  const alarms: LedgerAlarm[] = [];
  const ledger = await open(dir, alarms);
  const segments = ledger.closedSegments();
  const ids = await idsOf(segments);
  await ledger.close();
  return { ids, segments, alarms };
}

describe("kill -9", () => {
  test.each([100_000, 40])(
    "every acknowledged row is there, once, without a gap (segments of %d rows)",
    async (rows) => {
      const dir = tempDir("kill");
      const acknowledged = new Set<string>();
      for (let round = 0; round < 3; round++) {
        await using writer = await startProcess(process.execPath, [
          "--input-type=module",
          "-e",
          WRITER,
          ...MODULES,
          dir,
          String(rows),
        ]);
        await writer.waitForLine(/^r(3|4|5)\d\d$/);
        await writer.kill("SIGKILL");
        // Rounds use the same ids: what an earlier process stored is a duplicate to the next.
        for (const id of writer.stdout.split("\n").slice(0, -1)) acknowledged.add(id);
        expect(acknowledged.size).toBeGreaterThan(300);
      }
      const { ids, segments } = await recovered(dir);
      expect(new Set(ids).size).toBe(ids.length);
      expect([...acknowledged].filter((id) => !ids.includes(id))).toEqual([]);
      // Sequences of a stream go on from one segment to the next.
      const next = new Map<string, bigint>();
      for (const { streamId, firstSequence, count } of segments) {
        expect(firstSequence).toBe(next.get(streamId) ?? 1n);
        next.set(streamId, firstSequence + BigInt(count));
      }
    },
  );
});

describe("recovery", () => {
  test("closes what was open, with its hash, and knows its keys", async () => {
    const { dir, file } = await abandoned([["a", "b"], ["c"]]);
    const ledger = await open(dir);
    expect(await idsOf(ledger.closedSegments())).toEqual(["a", "b", "c"]);
    expect(ledger.closedSegments()[0]!.path).toBe(file.replace(".open", ".segment"));
    expect(ledger.window.size).toBe(3);
    expect(await append(ledger, ["b", "d"])).toMatchObject({ accepted: 1, duplicates: 1 });
    await ledger.close();
    const again = await open(dir);
    expect(await idsOf(again.closedSegments())).toEqual(["a", "b", "c", "d"]);
    expect(again.closedSegments().map(({ firstSequence }) => firstSequence)).toEqual([1n, 1n]);
    await again.close();
  });

  test("reads each file once; a window that is too small forgets the oldest", async () => {
    const { dir } = await abandoned([["e"], ["f"]]);
    // Younger streams, one with two segments.
    for (const [first, second] of [
      ["a", "b"],
      ["c", "d"],
    ] as const) {
      const ledger = await open(dir);
      await append(ledger, [first]);
      await ledger.rotate();
      await append(ledger, [second]);
      await ledger.close();
    }
    const reads: string[] = [];
    const io: FileIo = {
      ...nodeFileIo,
      read: (file) => {
        reads.push(file);
        return nodeFileIo.read(file);
      },
    };
    const ledger = await Ledger.open({ dir, io, windowKeys: 3, maxSegmentAgeMs: 60_000, onAlarm: () => undefined });
    const segments = ledger.closedSegments();
    expect(await idsOf(segments)).toEqual(["e", "f", "a", "b", "c", "d"]);
    expect(reads.filter((file) => file.endsWith(".segment")).toSorted()).toEqual(
      segments.map(({ path: file }) => file).toSorted(),
    );
    expect(await append(ledger, ["b", "c", "d"])).toMatchObject({ accepted: 0, duplicates: 3 });
    expect(await append(ledger, ["a"])).toMatchObject({ accepted: 1 });
    await ledger.close();
  });

  test("cut at any byte: whole rows before the cut stay, and nothing is refused", async () => {
    const { dir, file, bytes } = await abandoned([["a"], ["b", "c"]]);
    const scan = scanFrames(bytes);
    const lengths = new Set([0, 1, 31, 32, 33, bytes.length - 1]);
    for (let i = 0; i < scan.count; i++) {
      for (const at of [scan.payloadStart[i]!, scan.payloadEnd[i]!])
        for (const near of [-1, 0, 1]) lengths.add(at + near);
    }
    for (const length of lengths) {
      const whole = ["a", "b", "c"].filter((_, i) => scan.payloadEnd[dataFrames(scan)[i]!]! <= length);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, bytes.subarray(0, length));
      const { ids } = await recovered(dir);
      expect(ids, `cut at ${length}`).toEqual(whole);
      fs.rmSync(path.join(dir, "log"), { recursive: true });
    }
  });

  test("a torn tail is cut and told", async () => {
    const { dir, file, bytes } = await abandoned([["a"]]);
    fs.writeFileSync(file, Buffer.concat([bytes, Buffer.alloc(100, 7)]));
    const { ids, alarms } = await recovered(dir);
    expect(ids).toEqual(["a"]);
    expect(alarms).toMatchObject([{ code: "TORN_TAIL" }]);
    expect(alarms[0]!.message).toContain("100 bytes was cut, 0 intact frames");
  });

  test("a damaged row below the synced offset: quarantine, alarm, and all other rows in new segments", async () => {
    const { dir, file, bytes } = await abandoned([["a"], ["b"], ["c"], ["d"]]);
    const scan = scanFrames(bytes);
    bytes[scan.payloadStart[dataFrames(scan)[1]!]! + 60]! ^= 4;
    fs.writeFileSync(file, bytes);
    const { ids, segments, alarms } = await recovered(dir);
    expect(ids).toEqual(["a", "c", "d"]);
    expect(segments.map(({ firstSequence, count }) => [firstSequence, count])).toEqual([
      [1n, 1],
      [3n, 2],
    ]);
    expect(alarms).toMatchObject([{ code: "DAMAGED" }]);
    expect(fs.readFileSync(alarms[0]!.path!)).toEqual(bytes);
    expect((await recovered(dir)).alarms).toEqual([]);
  });

  test("the last acknowledged row is below the synced offset too", async () => {
    const { dir, file, bytes } = await abandoned([["a"], ["b"]]);
    const scan = scanFrames(bytes);
    bytes[scan.payloadStart[dataFrames(scan)[1]!]! + 60]! ^= 4;
    fs.writeFileSync(file, bytes);
    expect((await recovered(dir)).alarms).toMatchObject([{ code: "DAMAGED" }]);
  });

  test("a closed segment that lost its end, or a bit: quarantine, and the rest is saved", async () => {
    for (const damage of ["end", "bit", "header"]) {
      const { dir } = await abandoned([["a"], ["b"], ["c"]]);
      const { segments } = await recovered(dir);
      const bytes = fs.readFileSync(segments[0]!.path);
      const scan = scanFrames(bytes);
      const last = dataFrames(scan)[2]!;
      if (damage === "bit") bytes[scan.payloadStart[last]! + 60]! ^= 1;
      if (damage === "header") bytes.fill(0, 0, scan.payloadEnd[0]);
      fs.writeFileSync(segments[0]!.path, damage === "end" ? bytes.subarray(0, scan.payloadStart[last]! + 9) : bytes);
      await expect(readSegment(segments[0]!.path)).rejects.toMatchObject({ code: "CORRUPT" });
      const { ids, alarms } = await recovered(dir);
      expect([damage, ids]).toEqual([damage, damage === "header" ? ["a", "b", "c"] : ["a", "b"]]);
      expect(alarms).toMatchObject([{ code: "DAMAGED" }]);
      expect(fs.existsSync(alarms[0]!.path!)).toBe(true);
    }
  });

  test("rows that a failed sync left in its file are not taken when a later file has their sequences", async () => {
    const { dir, file, bytes } = await abandoned([["a"], ["lost"]]);
    // The later file: same stream, its first sequence is that of "lost".
    const other = await abandoned([["x"], ["stored"], ["more"]]);
    const scan = scanFrames(other.bytes);
    const stream = path.basename(path.dirname(file));
    const { openedAt, partition } = parseSegmentFile(file, bytes, 0).header!;
    const writer = await FrameWriter.create(file.replace("00000001", "00000002"));
    const header = encodeHeader({ streamId: stream, number: 2, firstSequence: 2n, partition, openedAt });
    writer.add(header, 0, header.length, 1);
    for (const i of dataFrames(scan).slice(1)) {
      const row = Buffer.from(scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]));
      row.set(uuidBytes(stream), 2);
      writer.add(row);
    }
    await writer.flush();
    await writer.close();
    const { ids, alarms } = await recovered(dir);
    expect(ids).toEqual(["a", "stored", "more"]);
    expect(alarms).toEqual([]);
  });

  test("a rewrite that was interrupted before or after its source went", async () => {
    const { dir, file } = await abandoned([["a"], ["b"]]);
    const { segments } = await recovered(dir);
    const waiting = file.replace("00000001.open", "00000002.segment.from-00000001");
    fs.copyFileSync(segments[0]!.path, waiting);
    expect((await recovered(dir)).ids).toEqual(["a", "b"]);
    expect(fs.existsSync(waiting)).toBe(false);
    fs.renameSync(segments[0]!.path, waiting);
    expect((await recovered(dir)).ids).toEqual(["a", "b"]);
  });

  test("streams come oldest first; empty ones and files without rows go", async () => {
    const dir = tempDir("streams");
    let now = 1_800_000_000_000_000_000n;
    for (const [id, step] of [
      ["new", 0n],
      ["old", -5_000_000_000n],
    ] as const) {
      now += step;
      const ledger = await Ledger.open({ dir, windowKeys: 10, now: () => now });
      await append(ledger, [id]);
      await ledger.close();
    }
    const empty = path.join(dir, "log", "00000000-0000-4000-8000-000000000000");
    fs.mkdirSync(empty);
    fs.writeFileSync(path.join(empty, "00000001.open"), "");
    fs.mkdirSync(path.join(dir, "log", "not a stream"));
    const { ids, alarms } = await recovered(dir);
    expect(ids).toEqual(["old", "new"]);
    expect(alarms).toEqual([]);
    expect(fs.existsSync(empty)).toBe(false);
  });

  test("a file of a later version is left alone, and said", async () => {
    const { dir, file, bytes } = await abandoned([["a"]]);
    bytes.writeUInt32LE(2, 8);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28);
    fs.writeFileSync(file, bytes);
    await expect(open(dir)).rejects.toThrow("frame file version 2 is not supported");
    expect(fs.readFileSync(file)).toEqual(bytes);
    // The lock was given back.
    await expect(open(dir)).rejects.toMatchObject({ code: "CORRUPT" });
  });

  test("a disk that fails during recovery loses nothing", async () => {
    const { dir, file, bytes } = await abandoned([["a"], ["b"], ["c"]]);
    const scan = scanFrames(bytes);
    bytes[scan.payloadStart[dataFrames(scan)[1]!]! + FRAME_HEADER_BYTES]! ^= 4;
    for (let failAt = 0; ; failAt++) {
      fs.rmSync(dir, { recursive: true });
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, bytes);
      let left = failAt;
      const failing =
        <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
        async (...args: A): Promise<R> => {
          if (left-- === 0) throw Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
          return call(...args);
        };
      const { create, write, datasync, rename, unlink, syncDirectory } = nodeFileIo;
      const io = {
        ...nodeFileIo,
        create: failing(create),
        write: failing(write),
        datasync: failing(datasync),
        rename: failing(rename),
        unlink: failing(unlink),
        syncDirectory: failing(syncDirectory),
      };
      const ledger = await Ledger.open({ dir, windowKeys: 10, io, onAlarm: () => undefined }).catch(
        (error: Error) => error,
      );
      if (ledger instanceof Ledger) await ledger.close();
      const refusal = ledger instanceof Ledger ? undefined : ledger;
      expect([undefined, "IO"]).toContain(refusal instanceof LedgerError ? refusal.code : refusal);
      expect((await recovered(dir)).ids, `operation ${failAt} failed`).toEqual(["a", "c"]);
      if (ledger instanceof Ledger && left >= 0) break;
    }
  });
});

function dataFrames(scan: ReturnType<typeof scanFrames>): number[] {
  return Array.from({ length: scan.count }, (_, i) => i).filter((i) => scan.kind[i] === 0);
}
