import * as fs from "node:fs";
import * as path from "node:path";
import { FrameKind } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";
import { type FileIo, makeDirectory } from "./io.ts";
import { type RowKey, readRowKey } from "./row-decode.ts";
import { ROW_FORMAT, ROW_OFFSET } from "./row-format.ts";
import { finishSalvage, retireFile, runsOf, salvage } from "./salvage.ts";
import {
  SEGMENT_START_BYTES,
  type RowRange,
  type SegmentFile,
  describeWhole,
  encodeFooter,
  hashRows,
  parseSegmentFile,
  partitionOf,
} from "./segment-file.ts";
import type { StoredSegment } from "./segment-writer.ts";
import type { ClosedSegment, LedgerAlarm } from "./types.ts";
import type { RecordWindow } from "./window.ts";

const STREAM = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SEGMENT = /^(\d+)\.(open|segment)$/;

interface Recovery {
  readonly io: FileIo;
  /** `<dir>/log` */
  readonly logDirectory: string;
  readonly quarantineDirectory: string;
  readonly window: RecordWindow;
  readonly alarm: (alarm: LedgerAlarm) => void;
}

/** One file of a stream as the directory lists it. */
interface Listed {
  readonly path: string;
  readonly number: number;
  readonly closed: boolean;
}

/** The files of an earlier process, in the order in which they were begun. */
interface Stream {
  readonly id: string;
  readonly directory: string;
  readonly files: readonly Listed[];
  /** ns; 0 when nothing is in it. */
  readonly openedAt: bigint;
}

/** What a file became. */
interface Recovered {
  readonly stored: readonly StoredSegment[];
  /** Of the file, those that are in `stored`. */
  readonly rows: readonly RowRange[];
}

const NOTHING: Recovered = { stored: [], rows: [] };

/**
 * Brings everything that earlier processes left into closed segments (rules L1 and L2): torn tails are cut, damaged files
 * go to quarantine and their intact rows to new segments, empty files and streams are removed. The window learns the keys
 * of all rows, oldest first, so that it forgets those when there are more keys than it holds. May be interrupted and
 * repeated at any point. Each file is read once.
 * @returns oldest stream first, each in the order of its sequences
 */
export async function recoverLog(recovery: Recovery): Promise<StoredSegment[]> {
  const streams: Stream[] = [];
  for (const name of await fs.promises.readdir(recovery.logDirectory)) {
    if (STREAM.test(name)) streams.push(await listStream(recovery, name));
  }
  const result: StoredSegment[] = [];
  for (const stream of streams.toSorted((a, b) => compare(a.openedAt, b.openedAt))) {
    const stored = await recoverStream(recovery, stream);
    if (stored.length === 0) await fs.promises.rmdir(stream.directory).catch(() => undefined);
    for (const segment of stored.toSorted(bySequence)) result.push(segment);
  }
  return result;
}

async function listStream({ io, logDirectory }: Recovery, id: string): Promise<Stream> {
  const directory = path.join(logDirectory, id);
  const names = await finishSalvage(io, directory, await fs.promises.readdir(directory));
  const files = names
    .map((name) => ({ path: path.join(directory, name), match: SEGMENT.exec(name) }))
    .filter((file) => file.match !== null)
    .map((file) => ({ path: file.path, number: Number(file.match![1]), closed: file.match![2] === "segment" }))
    .toSorted((a, b) => a.number - b.number);
  let openedAt = 0n;
  for (const file of files) {
    const begin = await beginOf(io, file);
    if (begin === undefined) continue;
    ({ openedAt } = begin);
    break;
  }
  return { id, directory, files, openedAt };
}

async function recoverStream(recovery: Recovery, { id, files }: Stream): Promise<StoredSegment[]> {
  const { io, window } = recovery;
  let highest = files.at(-1)?.number ?? 0;
  const nextNumber = (): number => ++highest;
  const result: StoredSegment[] = [];
  for (const [i, listed] of files.entries()) {
    const file = await parse(io, listed);
    const { stored, rows } = listed.closed
      ? await checkClosed(recovery, file, id, nextNumber)
      : await closeOpen(recovery, file, id, await firstSequences(io, files.slice(i + 1)), nextNumber);
    const from = window.inserted;
    learnKeys(window, file.scan.bytes, rows);
    const keys = [{ from, to: window.inserted }];
    // As a rule there is one. The last to be shipped has the keys: only then all of their rows are in the table.
    for (const one of stored) result.push(one === stored.at(-1) ? { ...one, keys } : one);
  }
  return result;
}

/** Where files begin; those without rows are left out. */
async function firstSequences(io: FileIo, files: readonly Listed[]): Promise<bigint[]> {
  const found: bigint[] = [];
  for (const file of files) {
    const begin = await beginOf(io, file);
    if (begin !== undefined) found.push(begin.firstSequence);
  }
  return found;
}

/** What a file's header says, read without the rest; where that is damaged, what its first intact row says. */
async function beginOf(
  io: FileIo,
  listed: Listed,
): Promise<{ readonly firstSequence: bigint; readonly openedAt: bigint } | undefined> {
  const { header } = parseSegmentFile(listed.path, await readStart(listed.path, SEGMENT_START_BYTES), 0);
  if (header !== undefined) return header;
  const { rows } = await parse(io, listed);
  const [row] = rows;
  return row && { firstSequence: row.sequence, openedAt: row.receivedAt };
}

async function readStart(file: string, length: number): Promise<Uint8Array> {
  const handle = await fs.promises.open(file, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function checkClosed(
  recovery: Recovery,
  file: SegmentFile,
  streamId: string,
  nextNumber: () => number,
): Promise<Recovered> {
  try {
    const segment = describeWhole(file);
    const openedAt = file.rows[0]?.receivedAt ?? 0n;
    return { stored: [{ segment, fileBytes: file.scan.bytes.length, openedAt, since: 0, keys: [] }], rows: file.rows };
  } catch (cause) {
    return quarantine(recovery, file, file.rows, streamId, nextNumber, cause);
  }
}

async function closeOpen(
  recovery: Recovery,
  file: SegmentFile,
  streamId: string,
  laterFirst: readonly bigint[],
  nextNumber: () => number,
): Promise<Recovered> {
  const { io } = recovery;
  const damage = file.scan.damage.find(({ kind }) => kind === "damaged");
  const torn = file.scan.damage.find(({ kind }) => kind === "torn");
  // Rows of a failed sync were moved to the next file; what stands here of them was never acknowledged from here.
  const first = file.header?.firstSequence ?? file.rows[0]?.sequence ?? 0n;
  const moved = laterFirst.filter((sequence) => sequence >= first).reduce<bigint | undefined>(minimum, undefined);
  const rows = moved === undefined ? file.rows : file.rows.filter(({ sequence }) => sequence < moved);
  if (torn !== undefined) await reportTorn(recovery, file, torn.start, rows.length === 0 && damage === undefined);
  if (damage !== undefined) return quarantine(recovery, file, rows, streamId, nextNumber, undefined);
  if (rows.length === 0) {
    await retireFile(io, file.path, { kind: "remove" });
    return NOTHING;
  }
  const whole = rows.length === file.rows.length && runsOf(rows).length === 1 && file.header !== undefined;
  const stored = whole
    ? [await closeInPlace(io, file, rows, streamId)]
    : await salvage(io, file, rows, streamId, nextNumber, { kind: "remove" });
  return { stored, rows };
}

/** Cuts the torn tail off, writes the footer that the process did not come to write, and names the file closed. */
async function closeInPlace(
  io: FileIo,
  file: SegmentFile,
  rows: readonly RowRange[],
  streamId: string,
): Promise<StoredSegment> {
  const finalPath = file.path.replace(/\.open$/, ".segment");
  const first = rows[0]!;
  const segment: ClosedSegment = {
    path: finalPath,
    streamId,
    number: file.header!.number,
    firstSequence: first.sequence,
    count: rows.length,
    partition: partitionOf(first.receivedAt),
    rowFormat: ROW_FORMAT,
    ...hashRows(file.scan.bytes, rows),
  };
  const writer = await FrameWriter.continue(file.path, file.scan.marker!, file.scan.end, io);
  try {
    const footer = encodeFooter(segment);
    if (file.footer === undefined) writer.add(footer, 0, footer.length, FrameKind.SegmentFooter);
    await writer.flush();
    await writer.sync();
  } finally {
    await writer.close();
  }
  await io.rename(file.path, finalPath);
  await io.syncDirectory(path.dirname(finalPath));
  return { segment, fileBytes: writer.position, openedAt: first.receivedAt, since: 0, keys: [] };
}

async function quarantine(
  recovery: Recovery,
  file: SegmentFile,
  rows: readonly RowRange[],
  streamId: string,
  nextNumber: () => number,
  cause: unknown,
): Promise<Recovered> {
  const directory = recovery.quarantineDirectory;
  const stored = await salvage(recovery.io, file, rows, streamId, nextNumber, { kind: "quarantine", directory });
  const ranges = file.scan.damage.map(({ start, end }) => `${start}-${end}`).join(", ");
  recovery.alarm({
    code: "DAMAGED",
    message:
      `${streamId}/${path.basename(file.path)}: bytes that had been synced are damaged (${ranges || "its footer does not fit"}); ` +
      `${rows.length} intact rows were saved, the file is in quarantine`,
    path: path.join(directory, `${streamId}-${path.basename(file.path)}`),
    cause,
  });
  return { stored, rows };
}

async function reportTorn(recovery: Recovery, file: SegmentFile, start: number, nothingLeft: boolean): Promise<void> {
  const { bytes, framesCut } = file.scan;
  const name = `${path.basename(path.dirname(file.path))}-${path.basename(file.path)}`;
  // A cut that takes intact frames, or the whole of a file, is kept for whoever wants to know what it was.
  if (framesCut > 0 || (nothingLeft && start === 0 && bytes.length > 0)) {
    await makeDirectory(recovery.io, recovery.quarantineDirectory);
    await fs.promises.copyFile(file.path, path.join(recovery.quarantineDirectory, `${name}.torn`));
  }
  recovery.alarm({
    code: "TORN_TAIL",
    message: `${name}: an interrupted write of ${bytes.length - start} bytes was cut, ${framesCut} intact frames with it`,
    path: file.path,
  });
}

function learnKeys(window: RecordWindow, bytes: Uint8Array, rows: readonly RowRange[]): void {
  const key: RowKey = { recordIdStart: 0, recordIdEnd: 0, principalStart: 0, principalEnd: 0, end: 0 };
  for (const row of rows) {
    readRowKey(bytes, row.start, key);
    const principal = bytes.subarray(key.principalStart, key.principalEnd);
    window.stage(principal, bytes, key.recordIdStart, key.recordIdEnd, bytes, row.start + ROW_OFFSET.contentHash);
  }
  window.commit("log");
}

async function parse(io: FileIo, { path: file, closed }: Listed): Promise<SegmentFile> {
  const content = await io.read(file);
  return parseSegmentFile(file, content, closed ? content.length : 0);
}

function minimum(a: bigint | undefined, b: bigint): bigint {
  return a === undefined || b < a ? b : a;
}

function bySequence(a: StoredSegment, b: StoredSegment): number {
  return compare(a.segment.firstSequence, b.segment.firstSequence);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
