import { readdirSync, readFileSync } from "node:fs";

/** Microseconds in a tick of the kernel's accounting (USER_HZ is 100 on every Linux that Node runs on). */
const TICK_MICROS = 10_000;

/** CPU micros of this process by thread name, since `before`; empty where the system has no `/proc`. */
export function cpuByThread(before: Readonly<Record<string, number>> = {}): Record<string, number> {
  const micros: Record<string, number> = {};
  let tasks: string[];
  try {
    tasks = readdirSync("/proc/self/task");
  } catch {
    return micros;
  }
  for (const task of tasks) {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    // utime and stime are fields 14 and 15; the name is field 2.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const used = (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
    const kind = task === String(process.pid) ? "main" : name;
    micros[kind] = (micros[kind] ?? 0) + used;
  }
  for (const [kind, used] of Object.entries(before)) micros[kind] = (micros[kind] ?? 0) - used;
  return micros;
}
