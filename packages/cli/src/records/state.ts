import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** What a collector leaves in its data directory while it runs, and for ever when it was killed. */
export interface CollectorState {
  readonly pid: number;
  /** Whether a process with this number exists; in doubt true. */
  readonly isAlive: boolean;
  /** Its SQL endpoint; undefined when it has none of its own. */
  readonly sql: string | undefined;
}

/** Undefined when there is no such file, or it is not one of ours. */
export async function readState(dataDir: string): Promise<CollectorState | undefined> {
  const text = await readFile(join(dataDir, "collector.json"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return undefined;
  }
  const pid = field(state, "pid");
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const sql = field(field(state, "endpoints"), "sql");
  return { pid, isAlive: isAlive(pid), sql: typeof sql === "string" ? sql : undefined };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, but not ours.
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}
