import * as path from "node:path";
import { type FileIo, makeDirectory } from "./io.ts";
import { type RowRange, type SegmentFile, partitionOf, segmentName } from "./segment-file.ts";
import { SegmentWriter, type StoredSegment, blockOf } from "./segment-writer.ts";

/** How the source of a rewritten file is put away. */
type Retire = { readonly kind: "remove" } | { readonly kind: "quarantine"; readonly directory: string };

const WAITING = /^(\d+)\.segment\.from-(\d+)$/;

/**
 * Saves rows of a file that cannot stay as it is (damaged, or with a failed sync) into new closed segments, one for each
 * run of sequences without a gap.
 *
 * The order makes it repeatable: the new files are complete and synced under waiting names; then the source goes, in one
 * step; then they get their names. A crash before that step leaves the source in force, a crash after it the new files:
 * `finishSalvage` does the rest at the next start.
 */
export async function salvage(
  io: FileIo,
  file: SegmentFile,
  rows: readonly RowRange[],
  streamId: string,
  nextNumber: () => number,
  retire: Retire,
): Promise<StoredSegment[]> {
  const directory = path.dirname(file.path);
  const source = path.parse(file.path).name;
  const waiting: { path: string; stored: StoredSegment }[] = [];
  for (const run of runsOf(rows)) {
    const first = run[0]!;
    const header = {
      streamId,
      number: nextNumber(),
      firstSequence: first.sequence,
      partition: partitionOf(first.receivedAt),
      openedAt: first.receivedAt,
    };
    const writer = await SegmentWriter.create(io, directory, header, `.segment.from-${source}`);
    try {
      await writer.append([{ block: blockOf(file.scan.bytes, run), from: 0, to: run.length }]);
      const stored = await writer.finish(writer.path);
      waiting.push({ path: writer.path, stored });
    } catch (error) {
      await writer.abandon();
      for (const { path } of [...waiting, writer]) await io.unlink(path).catch(() => undefined);
      throw error;
    }
  }
  await retireFile(io, file.path, retire);
  return Promise.all(
    waiting.map(async ({ path: from, stored }) => {
      const to = path.join(directory, `${segmentName(stored.segment.number)}.segment`);
      await io.rename(from, to);
      await io.syncDirectory(directory);
      return { ...stored, segment: { ...stored.segment, path: to } };
    }),
  );
}

/** Completes or undoes what a crash left of a salvage. Returns the names that the directory has afterwards. */
export async function finishSalvage(io: FileIo, directory: string, names: readonly string[]): Promise<string[]> {
  const result = new Set(names);
  for (const name of names) {
    const match = WAITING.exec(name);
    if (match === null) continue;
    result.delete(name);
    const sourceStands = result.has(`${match[2]}.open`) || result.has(`${match[2]}.segment`);
    if (sourceStands) {
      await io.unlink(path.join(directory, name));
    } else {
      await io.rename(path.join(directory, name), path.join(directory, `${match[1]}.segment`));
      result.add(`${match[1]}.segment`);
    }
    await io.syncDirectory(directory);
  }
  return [...result];
}

/** Takes a file out of the log and makes that durable. */
export async function retireFile(io: FileIo, file: string, retire: Retire): Promise<void> {
  const directory = path.dirname(file);
  if (retire.kind === "remove") {
    // Gone already: an earlier try failed only at making that durable.
    await io.unlink(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  } else {
    await makeDirectory(io, retire.directory);
    await io.rename(file, path.join(retire.directory, `${path.basename(directory)}-${path.basename(file)}`));
    await io.syncDirectory(retire.directory);
  }
  await io.syncDirectory(directory);
}

/** Splits rows where a sequence is missing or the month changes. Rows that come again are left out. */
export function runsOf(rows: readonly RowRange[]): RowRange[][] {
  const runs: RowRange[][] = [];
  let last: RowRange | undefined;
  for (const row of rows) {
    if (last !== undefined && row.sequence <= last.sequence) continue;
    const follows = last !== undefined && row.sequence === last.sequence + 1n;
    if (follows && partitionOf(row.receivedAt) === partitionOf(last!.receivedAt)) runs.at(-1)!.push(row);
    else runs.push([row]);
    last = row;
  }
  return runs;
}
