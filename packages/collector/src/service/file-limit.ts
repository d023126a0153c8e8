import { readFileSync } from "node:fs";

/** Far above what one machine's processes need of one protocol and worker. */
const MAX_CONNECTIONS = 4_096;
/** The part of a process's files that connections may take: without others no log is written and no segment read. */
const CONNECTIONS_SHARE = 0.5;

/** Files that this process may have open; Node has raised the limit as far as it may. Infinity where nothing says so. */
export function fileLimit(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1")) ?? [];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}

/** How many connections each of so many servers has room for, in all threads of a process with so many files. */
export function maxConnections(servers: number, files = fileLimit()): number {
  const share = Math.floor((files * CONNECTIONS_SHARE) / servers);
  return Math.max(1, Math.min(MAX_CONNECTIONS, share));
}
