import { DirectoryLock } from "@otel-audit/ledger";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CollectorError, errorMessage } from "../errors.ts";

/**
 * Makes the data directory where it is missing, and keeps other processes out of it until the lock is released.
 *
 * @throws CollectorError `UNAVAILABLE`: the process that has it may end, a disk may be mounted a moment later
 */
export async function lockDataDir(dataDir: string): Promise<DirectoryLock> {
  try {
    await makeDirectory(dataDir);
    return await DirectoryLock.acquire(dataDir);
  } catch (cause) {
    throw new CollectorError("UNAVAILABLE", `data directory "${dataDir}" (--data): ${errorMessage(cause)}`, { cause });
  }
}

/** Not by Node's recursive mkdir, which never returns below /proc. */
async function makeDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  if (found?.isDirectory()) return;
  if (found) throw new Error("there is a file of that name");
  await makeDirectory(dirname(directory));
  await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
}

/** Leaves the addresses in the data directory, for those who have only that (`otel-audit query --data DIR`). */
export async function writeState(dataDir: string, endpoints: object): Promise<string> {
  const file = join(dataDir, "collector.json");
  await writeFile(`${file}.tmp`, `${JSON.stringify({ pid: process.pid, endpoints })}\n`, { mode: 0o600 });
  await rename(`${file}.tmp`, file);
  return file;
}
