import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { forgetGroup, reapGroup } from "./reaper.ts";

export interface ProcessOptions {
  /** Added to this process's environment; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  readonly pid: number;
  /** What came on stdout so far. */
  readonly stdout: string;
  readonly stderr: string;
  readonly stdin: NodeJS.WritableStream;
  /** Resolves when the process has ended and its output is complete. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  /**
   * The first line of stdout or stderr that matches, also one that came already. Rejects with the whole output when the
   * process ends without it, or after `timeoutMs` (30 s).
   */
  waitForLine(pattern: RegExp | string, timeoutMs?: number): Promise<string>;
  /** Sends a signal (SIGTERM) to the process alone, and waits for its end. */
  kill(signal?: NodeJS.Signals): Promise<ExitStatus>;
  /** Kills what is left of the process and of those it started. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a program with captured output. It leads a process group of its own, so that what it starts ends with it, and
 * it is killed when this process ends, however it ends.
 *
 * @throws the spawn error when the program cannot be started
 */
export async function startProcess(
  command: string,
  args: readonly string[] = [],
  options: ProcessOptions = {},
): Promise<RunningProcess> {
  const env = { ...process.env, ...options.env };
  for (const [name, value] of Object.entries(env)) if (value === undefined) delete env[name];
  const child = spawn(command, args, { cwd: options.cwd, env, detached: true, stdio: "pipe" });
  const managed = new ManagedProcess(child);
  await once(child, "spawn");
  reapGroup(managed.pid);
  return managed;
}

interface Waiter {
  readonly matches: (line: string) => boolean;
  readonly found: (line: string) => void;
}

class ManagedProcess implements RunningProcess {
  readonly exited: Promise<ExitStatus>;
  readonly stdin: NodeJS.WritableStream;
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly output = { stdout: "", stderr: "" };
  private readonly lines: string[] = [];
  private readonly waiters = new Set<Waiter>();

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    this.stdin = child.stdin;
    // The process may be gone before what was written to it is read; that is for the test to judge by `exited`.
    child.stdin.on("error", () => undefined);
    this.capture("stdout");
    this.capture("stderr");
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error("the process was not started");
    return pid;
  }

  get stdout(): string {
    return this.output.stdout;
  }

  get stderr(): string {
    return this.output.stderr;
  }

  async waitForLine(pattern: RegExp | string, timeoutMs = 30_000): Promise<string> {
    const matches = (line: string): boolean =>
      typeof pattern === "string" ? line.includes(pattern) : new RegExp(pattern.source, pattern.flags).test(line);
    const early = this.lines.find(matches);
    if (early !== undefined) return early;
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    const found = new Promise<string>((resolve) => {
      waiter = { matches, found: resolve };
      this.waiters.add(waiter);
    });
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), timeoutMs);
    });
    try {
      const first = await Promise.race([found, late, this.exited]);
      if (typeof first === "string") return first;
      const why = first === undefined ? `within ${timeoutMs} ms` : `before it ended with ${JSON.stringify(first)}`;
      throw new Error(`no line matched ${String(pattern)} ${why}\nstdout:\n${this.stdout}\nstderr:\n${this.stderr}`);
    } finally {
      clearTimeout(timer);
      if (waiter) this.waiters.delete(waiter);
    }
  }

  async kill(signal: NodeJS.Signals = "SIGTERM"): Promise<ExitStatus> {
    this.child.kill(signal);
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // The whole group is gone already.
    }
    forgetGroup(this.pid);
    await this.exited;
  }

  private capture(name: "stdout" | "stderr"): void {
    let rest = "";
    const stream = this.child[name].setEncoding("utf8");
    stream.on("data", (text: string) => {
      this.output[name] += text;
      const lines = (rest + text).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) this.line(line);
    });
    stream.once("end", () => {
      if (rest !== "") this.line(rest);
    });
  }

  private line(line: string): void {
    this.lines.push(line);
    for (const waiter of this.waiters) if (waiter.matches(line)) waiter.found(line);
  }
}
