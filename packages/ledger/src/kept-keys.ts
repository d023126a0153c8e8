import * as fs from "node:fs";
import * as path from "node:path";
import { LedgerError } from "./errors.ts";
import { FrameKind, MAX_FRAME_PAYLOAD } from "./frame.ts";
import { scanFrames } from "./frame-reader.ts";
import { type FileIo, makeDirectory } from "./io.ts";
import { ENDING, INCOMPLETE, addHeader, createFile, keysDirectory, markIncomplete, shippedRow } from "./key-log.ts";
import { type SegmentHeader, decodeHeader } from "./segment-file.ts";
import type { ShippedRow } from "./shipped-rows.ts";
import type { LedgerAlarm } from "./types.ts";
import { ENTRY_BYTES, RecordWindow } from "./window.ts";

const SECRET_BYTES = 8;
/** More files than these become one at the next start. */
const MAX_FILES = 16;

/**
 * A window that knows what earlier processes kept. Damaged files are told and left out.
 * @returns `complete`: these are all keys of the table, as far as a window goes; `shipped`: of the newest segment among them
 */
export async function openWindow(
  io: FileIo,
  dir: string,
  maxKeys: number,
  alarm: (alarm: LedgerAlarm) => void,
): Promise<{ window: RecordWindow; complete: boolean; shipped: ShippedRow | undefined }> {
  const directory = keysDirectory(dir);
  await makeDirectory(io, directory);
  const files = await readFiles(io, directory, alarm);
  const secret = files.at(-1)?.secret;
  const window = new RecordWindow(maxKeys, 0, secret);
  const useless: string[] = [];
  let newer = files.reduce((sum, { keys }) => sum + keys, 0);
  for (const file of files) {
    newer -= file.keys;
    // The newest files fill the window without it, or its fingerprints are of another secret.
    if (newer >= maxKeys || file.keys === 0 || secret === undefined || !file.secret.equals(secret)) {
      useless.push(file.path);
    } else for (const entries of file.entries) window.restore(entries);
  }
  const newest = files
    .flatMap(({ segment }) => segment ?? [])
    .reduce<SegmentHeader | undefined>((a, b) => (a === undefined || b.openedAt > a.openedAt ? b : a), undefined);
  const used = files.filter((file) => !useless.includes(file.path));
  const complete = await isComplete(io, directory, files, window.size === maxKeys);
  // A damaged file is told once.
  if (used.length > MAX_FILES || used.some(({ damaged }) => damaged)) {
    await merge(io, directory, window, newest);
    useless.push(...used.map((file) => file.path));
  }
  for (const file of useless) await io.unlink(file);
  return { window, complete: complete && window.size > 0, shipped: newest && shippedRow(newest) };
}

/** Once the window is full of kept keys, those that were lost are older than what it holds. */
async function isComplete(io: FileIo, directory: string, files: readonly KeyFile[], full: boolean): Promise<boolean> {
  if (files.some(({ damaged }) => damaged)) {
    await markIncomplete(io, directory);
    return false;
  }
  const markers = (await fs.promises.readdir(directory)).filter((name) => name.endsWith(INCOMPLETE));
  if (full) for (const name of markers) await io.unlink(path.join(directory, name));
  return full || markers.length === 0;
}

interface KeyFile {
  readonly path: string;
  readonly secret: Buffer;
  readonly entries: readonly Uint8Array[];
  readonly keys: number;
  /** The last one of which it has keys. */
  readonly segment: SegmentHeader | undefined;
  readonly damaged: boolean;
}

/** Oldest first, as far as the clock can be believed: which keys are forgotten first hangs on it, and no more. */
async function readFiles(io: FileIo, directory: string, alarm: (alarm: LedgerAlarm) => void): Promise<KeyFile[]> {
  const found: { file: KeyFile; changed: number }[] = [];
  for (const name of await fs.promises.readdir(directory)) {
    if (!name.endsWith(ENDING)) continue;
    const file = path.join(directory, name);
    const scan = scanFrames(await io.read(file));
    const all = Array.from({ length: scan.count }, (_, i) => ({
      kind: scan.kind[i],
      bytes: scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]),
    }));
    const frames = all.filter(({ kind, bytes }) => kind === FrameKind.Data && bytes.length > 0);
    const header = all.findLast(({ kind }) => kind === FrameKind.SegmentHeader);
    const segment = header && headerOf(header.bytes, file);
    const [secret, ...rest] = frames.map(({ bytes }) => bytes);
    const damaged = scan.damage.some(({ kind }) => kind === "damaged");
    if (damaged) {
      const message = `keys/${name}: bytes that had been synced are damaged; some repeated records may be stored again`;
      alarm({ code: "DAMAGED", message, path: file });
    }
    // Without its first frame the fingerprints say nothing.
    const readable = secret?.length === SECRET_BYTES && rest.every(({ length }) => length % ENTRY_BYTES === 0);
    const entries = readable ? rest : [];
    const keys = entries.reduce((sum, { length }) => sum + length / ENTRY_BYTES, 0);
    const { mtimeMs } = await fs.promises.stat(file);
    const known = { path: file, secret: Buffer.from(readable ? secret : []), entries, keys, segment, damaged };
    found.push({ file: known, changed: keys === 0 ? 0 : mtimeMs });
  }
  return found.toSorted((a, b) => a.changed - b.changed).map(({ file }) => file);
}

/** Undefined of another version: the keys are as good, and the table is asked for the next segment that is shipped. */
function headerOf(payload: Buffer, file: string): SegmentHeader | undefined {
  try {
    return decodeHeader(payload, file);
  } catch (error) {
    if (error instanceof LedgerError && error.code === "CORRUPT") return undefined;
    throw error;
  }
}

/** All that the window knows as one file. */
async function merge(
  io: FileIo,
  directory: string,
  window: RecordWindow,
  segment: SegmentHeader | undefined,
): Promise<void> {
  const writer = await createFile(io, directory, window);
  const step = Math.floor(MAX_FRAME_PAYLOAD / ENTRY_BYTES);
  try {
    for (let from = 0; from < window.inserted; from += step) {
      writer.add(window.entries(from, Math.min(from + step, window.inserted)));
      await writer.flush();
    }
    if (segment !== undefined) addHeader(writer, segment);
    await writer.flush();
    await writer.sync();
    await io.syncDirectory(directory);
  } finally {
    await writer.close();
  }
}
