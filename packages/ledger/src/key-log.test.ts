// A process that starts while the table cannot be read still knows what it stored: over restarts, failing disks, damage.
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { LedgerDirectory } from "./directory.ts";
import { LedgerError } from "./errors.ts";
import { FrameKind } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";
import { parseSegmentFile } from "./segment-file.ts";
import type { ShippedRow } from "./shipped-rows.ts";
import { append } from "./testing/records.ts";
import type { AppendResult, LedgerAlarm } from "./types.ts";

function appendRange(ledger: Ledger, from: number, to: number, note?: string): Promise<AppendResult> {
  return append(
    ledger,
    Array.from({ length: to - from }, (_, i) => `r${from + i}`),
    note,
  );
}

interface Options {
  readonly windowKeys?: number;
  readonly io?: FileIo;
  readonly alarms?: LedgerAlarm[];
}

function open(dir: string, { windowKeys = 1000, io = nodeFileIo, alarms = [] }: Options = {}): Promise<Ledger> {
  return Ledger.open({ dir, windowKeys, io, onAlarm: (alarm) => alarms.push(alarm) });
}

/** As if all of it were in the table. */
async function ship(ledger: Ledger): Promise<void> {
  await ledger.rotate();
  for (const segment of ledger.closedSegments().slice()) await ledger.removeSegment(segment);
}

function keyFiles(dir: string): string[] {
  return fs.readdirSync(path.join(dir, "keys")).map((name) => path.join(dir, "keys", name));
}

test("records whose files are gone are known after a restart, conflicts among them", async () => {
  const dir = tempDir("keys");
  const first = await open(dir);
  await appendRange(first, 0, 100);
  await ship(first);
  expect(await appendRange(first, 50, 60, "other")).toMatchObject({ accepted: 10, conflicts: 10 });
  await ship(first);
  await first.close();
  const second = await open(dir);
  expect(await appendRange(second, 0, 101)).toMatchObject({ accepted: 1, duplicates: 100, conflicts: 0 });
  expect(await appendRange(second, 50, 60, "other")).toMatchObject({ accepted: 0, duplicates: 10, conflicts: 0 });
  expect(await appendRange(second, 0, 1, "a third")).toMatchObject({ accepted: 1, conflicts: 1 });
  await second.close();
});

test("records that a later process found in the log and shipped are known to the one after it", async () => {
  const dir = tempDir("keys");
  const first = await open(dir);
  await appendRange(first, 0, 10);
  await first.close();
  const second = await open(dir);
  await ship(second);
  await second.close();
  const third = await open(dir);
  expect(third.closedSegments()).toEqual([]);
  expect(await appendRange(third, 0, 10)).toMatchObject({ accepted: 0, duplicates: 10 });
  await third.close();
});

test("what is in the log only is not known by its key: a record that the disk destroyed may come again", async () => {
  const dir = tempDir("keys");
  const first = await open(dir);
  await appendRange(first, 0, 10);
  await first.close();
  fs.rmSync(path.join(dir, "log"), { recursive: true });
  const second = await open(dir);
  expect(await appendRange(second, 0, 10)).toMatchObject({ accepted: 10 });
  await second.close();
});

test("a disk that takes no keys does not keep segments from going; they are written with the next ones", async () => {
  const dir = tempDir("keys");
  let broken = true;
  const io: FileIo = {
    ...nodeFileIo,
    datasync: (fd) => {
      const isKeys = fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith(".keys");
      return broken && isKeys ? Promise.reject(new Error("EIO")) : nodeFileIo.datasync(fd);
    },
  };
  const first = await open(dir, { io });
  await appendRange(first, 0, 10);
  await ship(first);
  expect(first.closedSegments()).toEqual([]);
  broken = false;
  await appendRange(first, 10, 20);
  await ship(first);
  await first.close();
  const second = await open(dir);
  expect(await appendRange(second, 0, 20)).toMatchObject({ accepted: 0, duplicates: 20 });
  await second.close();
});

function refuse(): Promise<number> {
  return Promise.reject(new Error("ENOSPC"));
}

/** A disk on which no file is made in `keys/` and none grows there; `marks`: empty files are. */
function fullDisk(isFull: () => boolean, marks: boolean): FileIo {
  return {
    ...nodeFileIo,
    create: (file) =>
      isFull() && file.includes("/keys/") && !(marks && file.endsWith(".incomplete"))
        ? refuse()
        : nodeFileIo.create(file),
    write: (fd, bytes, offset, length, position) =>
      isFull() && fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith(".keys")
        ? refuse()
        : nodeFileIo.write(fd, bytes, offset, length, position),
  };
}

async function keptKeys(dir: string): Promise<boolean> {
  const directory = await LedgerDirectory.open({ dir, windowKeys: 1000 });
  await directory.close();
  return directory.keptKeys;
}

test("keys that found no room when their segment went are written at the end", async () => {
  const dir = tempDir("keys");
  await stored(dir);
  let full = true;
  const second = await open(dir, { io: fullDisk(() => full, false) });
  await appendRange(second, 10, 20);
  await ship(second);
  full = false;
  await second.close();
  expect(await keptKeys(dir)).toBe(true);
  const third = await open(dir);
  expect(await appendRange(third, 0, 20)).toMatchObject({ accepted: 0, duplicates: 20 });
  await third.close();
});

test("keys that are never written make the next starts ask the table", async () => {
  const dir = tempDir("keys");
  await stored(dir);
  const second = await open(dir, { io: fullDisk(() => true, true) });
  await appendRange(second, 10, 20);
  await ship(second);
  await second.close();
  expect(await keptKeys(dir)).toBe(false);
  expect(await keptKeys(dir)).toBe(false);
  const last = await open(dir);
  await appendRange(last, 100, 1100);
  await ship(last);
  await last.close();
  // A full window has no room for what the table may know besides.
  expect(await keptKeys(dir)).toBe(true);
  expect(keyFiles(dir).filter((file) => file.endsWith(".incomplete"))).toEqual([]);
});

/** Ten records in the table. */
async function stored(dir: string): Promise<void> {
  const ledger = await open(dir);
  await appendRange(ledger, 0, 10);
  await ship(ledger);
  await ledger.close();
}

test("a full disk takes the keys of what was shipped, in the room that was kept for them", async () => {
  const dir = tempDir("keys");
  let full = false;
  const io: FileIo = {
    ...nodeFileIo,
    create: (file) => (full ? Promise.reject(new Error("ENOSPC")) : nodeFileIo.create(file)),
    write: (fd, bytes, offset, length, position) => {
      const inPlace = position + length <= fs.fstatSync(fd).size;
      return full && !inPlace
        ? Promise.reject(new Error("ENOSPC"))
        : nodeFileIo.write(fd, bytes, offset, length, position);
    },
  };
  const first = await open(dir, { io });
  await appendRange(first, 0, 100);
  await first.rotate();
  full = true;
  for (const segment of first.closedSegments().slice()) await first.removeSegment(segment);
  await first.close();
  const second = await open(dir);
  expect(await appendRange(second, 0, 100)).toMatchObject({ accepted: 0, duplicates: 100 });
  await second.close();
});

test("many starts leave few files, and no more keys than the window has", async () => {
  const dir = tempDir("keys");
  for (let start = 0; start < 40; start++) {
    const ledger = await open(dir, { windowKeys: 50 });
    await appendRange(ledger, start * 10, start * 10 + 10);
    await ship(ledger);
    await ledger.close();
  }
  expect(keyFiles(dir).length).toBeLessThan(20);
  const last = await open(dir, { windowKeys: 50 });
  expect(await appendRange(last, 350, 400)).toMatchObject({ duplicates: 50 });
  expect(await appendRange(last, 0, 10)).toMatchObject({ accepted: 10 });
  for (let i = 0; i < 30; i++) {
    await appendRange(last, 1000 + i * 10, 1010 + i * 10);
    await ship(last);
  }
  const bytes = keyFiles(dir).reduce((sum, file) => sum + fs.statSync(file).size, 0);
  expect(bytes).toBeLessThan(8000);
  await last.close();
});

test("damaged key files are told, and do not keep the ledger from opening", async () => {
  const dir = tempDir("keys");
  const first = await open(dir);
  for (let i = 0; i < 3; i++) {
    await appendRange(first, i * 10, i * 10 + 10);
    await ship(first);
  }
  await first.close();
  const [file] = keyFiles(dir);
  const bytes = fs.readFileSync(file!);
  // In the second of three frames with keys: 32 of the file, 36 of the secret's frame, 188 of each.
  bytes[32 + 36 + 188 + 100]! ^= 1;
  fs.writeFileSync(file!, bytes);
  const alarms: LedgerAlarm[] = [];
  const second = await open(dir, { alarms });
  expect(alarms).toMatchObject([{ code: "DAMAGED", path: file }]);
  expect(await appendRange(second, 0, 30)).toMatchObject({ accepted: 10, duplicates: 20 });
  await second.close();
  await (await open(dir, { alarms })).close();
  expect(alarms).toHaveLength(1);
  expect(await keptKeys(dir)).toBe(false);
});

/** The row that the table is asked for when the directory is opened. */
async function asked(dir: string): Promise<ShippedRow | undefined> {
  const directory = await LedgerDirectory.open({ dir, windowKeys: 1000 });
  await directory.close();
  return directory.shipped.asked;
}

test("the newest shipped row is known after restarts, also when many files become one; damage does not invent one", async () => {
  const dir = tempDir("keys");
  expect(await asked(dir)).toBeUndefined();
  let newest: ShippedRow | undefined;
  for (let start = 0; start < 20; start++) {
    const ledger = await open(dir);
    await appendRange(ledger, start * 10, start * 10 + 5);
    await ship(ledger);
    await appendRange(ledger, start * 10 + 5, start * 10 + 10);
    await ledger.rotate();
    const { streamId, firstSequence, path: file } = ledger.closedSegments()[0]!;
    const [row] = parseSegmentFile(file, fs.readFileSync(file), 0).rows;
    newest = { streamId, sequence: firstSequence, receivedAt: row!.receivedAt };
    await ship(ledger);
    await ledger.close();
  }
  expect(newest?.sequence).toBe(6n);
  expect(await asked(dir)).toEqual(newest);
  expect(keyFiles(dir).length).toBeLessThan(20);
  expect(await asked(dir)).toEqual(newest);
  for (const file of keyFiles(dir)) fs.truncateSync(file, 32);
  expect(await asked(dir)).toBeUndefined();
});

test("after the table lost what it had, only what is in the log is known, by this process and by the next", async () => {
  const dir = tempDir("keys");
  await stored(dir);
  const left = await open(dir);
  await appendRange(left, 10, 20);
  await left.close();
  const alarms: LedgerAlarm[] = [];
  const options = { dir, windowKeys: 1000, onAlarm: (alarm: LedgerAlarm) => alarms.push(alarm) };
  const directory = await LedgerDirectory.open(options);
  const ledger = await Ledger.join({ ...options, locked: true }, directory.share, 0);
  const other = await Ledger.join({ ...options, locked: true }, directory.share, 1);
  await appendRange(other, 20, 30);
  await ship(other);
  await appendRange(other, 30, 40);
  expect(await directory.forgetShipped("gone")).toBe(10);
  expect(alarms).toEqual([{ code: "TABLE_LOST", message: "gone" }]);
  expect(directory.shipped.asked).toBeUndefined();
  expect(await appendRange(ledger, 0, 40)).toMatchObject({ accepted: 20, duplicates: 20, conflicts: 0 });
  expect(await appendRange(other, 0, 40)).toMatchObject({ accepted: 0, duplicates: 40 });
  await ship(ledger);
  await ship(other);
  await ledger.close();
  await other.close();
  await directory.close();
  // The files that were in use are gone with the others: the table has to say what it has.
  expect(await keptKeys(dir)).toBe(false);
  const next = await open(dir);
  expect(await appendRange(next, 0, 10)).toMatchObject({ accepted: 10 });
  await next.close();
});

test("a record whose keys were kept while its file could not be removed is one of the log", async () => {
  const dir = tempDir("keys");
  let broken = true;
  const io: FileIo = {
    ...nodeFileIo,
    unlink: (file) =>
      broken && file.endsWith(".segment") ? Promise.reject(new Error("EIO")) : nodeFileIo.unlink(file),
  };
  const first = await open(dir, { io });
  await appendRange(first, 0, 10);
  await expect(ship(first)).rejects.toThrow(LedgerError);
  await first.close();
  broken = false;
  const directory = await LedgerDirectory.open({ dir, windowKeys: 1000, onAlarm: () => undefined });
  const second = await Ledger.join({ dir, windowKeys: 1000, locked: true }, directory.share, 0);
  await directory.forgetShipped("gone");
  expect(await appendRange(second, 0, 10)).toMatchObject({ accepted: 0, duplicates: 10 });
  await ship(second);
  await directory.forgetShipped("gone");
  expect(await appendRange(second, 0, 10)).toMatchObject({ accepted: 10 });
  await second.close();
  await directory.close();
});

test("a segment of another version among the keys does not keep a process from starting", async () => {
  const dir = tempDir("keys");
  const first = await open(dir);
  await appendRange(first, 0, 10);
  await ship(first);
  await first.close();
  const writer = await FrameWriter.create(path.join(dir, "keys", "other.keys"), nodeFileIo);
  const header = Buffer.alloc(48, 0xff);
  writer.add(header, 0, header.length, FrameKind.SegmentHeader);
  await writer.flush();
  await writer.close();
  const second = await open(dir);
  expect(await appendRange(second, 0, 10)).toMatchObject({ accepted: 0, duplicates: 10 });
  await second.close();
});
