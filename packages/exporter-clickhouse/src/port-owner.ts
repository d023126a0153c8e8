import { execFile } from "node:child_process";
import { readdir, readFile, readlink } from "node:fs/promises";
import { promisify } from "node:util";

/** Characters of a command in a message. */
const MAX_COMMAND = 200;

/**
 * Which process listens on a TCP port, as words for a message: `process 4711 (clickhouse-server)`. Undefined where the system
 * does not tell (another user's process, or no way to ask).
 */
export async function findPortOwner(port: number): Promise<string | undefined> {
  try {
    return process.platform === "linux" ? await askProc(port) : await askLsof(port);
  } catch {
    return undefined;
  }
}

async function askProc(port: number): Promise<string | undefined> {
  const hexPort = port.toString(16).toUpperCase().padStart(4, "0");
  const sockets = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    const text = await readFile(table, "utf8").catch(() => "");
    for (const line of text.split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      // 0A: listening. Field 9 is the socket's inode.
      if (fields[1]?.endsWith(`:${hexPort}`) === true && fields[3] === "0A") sockets.add(`socket:[${fields[9]}]`);
    }
  }
  if (sockets.size === 0) return undefined;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (sockets.has(target)) return await describeProcess(Number(pid));
    }
  }
  return undefined;
}

/** `process 4711 (node agent.js)`: what it was started as, up to its first option, since options may hold secrets. */
export async function describeProcess(pid: number): Promise<string> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const words = line.split("\0").filter((word) => word !== "");
  const option = words.findIndex((word) => word.startsWith("-"));
  const command = words.slice(0, option < 0 ? words.length : option).join(" ");
  return command === "" ? `process ${pid}` : `process ${pid} (${command.slice(0, MAX_COMMAND)})`;
}

async function askLsof(port: number): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)("lsof", ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fpc"], {
    timeout: 2_000,
  });
  const pid = /^p(\d+)$/m.exec(stdout)?.[1];
  const command = /^c(.+)$/m.exec(stdout)?.[1];
  return pid === undefined ? undefined : `process ${pid} (${command ?? "?"})`;
}
