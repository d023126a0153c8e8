// What the system counts for a process: CPU of all its threads and resident memory, from Linux's /proc.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Microseconds in a tick of the kernel's accounting (USER_HZ is 100 on every Linux that Node runs on). */
const TICK_MICROS = 10_000;

/** CPU micros of a process so far, user and system, of all threads, also of those that ended. */
export function cpuMicros(pid: number): number {
  return read(`${pid}/stat`, used);
}

/** CPU micros of a process's threads so far, by name. */
export function cpuByThread(pid: number): Record<string, number> {
  const micros: Record<string, number> = {};
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8");
    const name = task === String(pid) ? "main" : stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    micros[name] = (micros[name] ?? 0) + used(stat);
  }
  return micros;
}

/** Bytes of a process that are in memory. */
export function residentBytes(pid: number): number {
  return read(`${pid}/status`, (status) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1_024);
}

function used(stat: string): number {
  // utime and stime are fields 14 and 15; field 2 is the name, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
}

function read<T>(file: string, parse: (text: string) => T): T {
  if (process.platform !== "linux") throw new Error("this bench reads /proc: it needs Linux");
  return parse(readFileSync(`/proc/${file}`, "utf8"));
}

/** Numbers of the cores that this process may use. */
export function allowedCores(): number[] {
  const list = read("self/status", (status) => /^Cpus_allowed_list:\s+(\S+)$/m.exec(status)?.[1] ?? "");
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}

/** Keeps processes, with all of their threads, on these cores. */
export function keepOn(cores: readonly number[], pids: readonly number[]): void {
  for (const pid of pids) {
    const { status, error, stderr } = spawnSync("taskset", ["-acp", cores.join(","), String(pid)], {
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`this bench needs taskset (util-linux): ${error?.message ?? stderr}`);
  }
}
