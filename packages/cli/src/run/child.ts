import { spawn, type ChildProcess } from "node:child_process";
import { constants } from "node:os";

/** Exit codes of a shell for a command that cannot be run, and is not there. */
const NOT_EXECUTABLE = 126;
export const NOT_FOUND = 127;

/** Signals that another process sends to us and means for the command. */
const PASSED_ON: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGUSR2"];
/** Signals that a terminal sends to the command too, being in the same group; passed on only where there is no terminal. */
const OF_TERMINAL: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];

export interface ChildEnd {
  /** Its exit code; 128 and the signal's number when a signal ended it; 126 or 127 when it could not be started. */
  readonly exitCode: number;
  /** Why it could not be started. */
  readonly error?: Error;
}

/**
 * Takes the signals that this process gets: while a command runs they are its business, else they end us.
 *
 * Without this a Ctrl-C would end us before the command has cleaned up, and nobody would see what it did.
 */
export class Signals {
  #child: ChildProcess | undefined;
  #received: NodeJS.Signals | undefined;
  readonly #waiting: (() => void)[] = [];
  readonly #listener = (signal: NodeJS.Signals): void => this.#on(signal);

  constructor() {
    for (const signal of [...PASSED_ON, ...OF_TERMINAL]) process.on(signal, this.#listener);
  }

  /** The exit code to end with, when a signal came while no command ran. */
  get exitCode(): number | undefined {
    return this.#received && 128 + constants.signals[this.#received];
  }

  /** Resolves when a signal asks us to end. */
  interrupted(): Promise<void> {
    if (this.#received !== undefined) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Runs the command and gives it the signals until it has ended. */
  async run(
    command: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    stdout: "inherit" | number,
  ): Promise<ChildEnd> {
    const child = spawn(command, args, { stdio: ["inherit", stdout, "inherit"], env });
    this.#child = child;
    try {
      return await new Promise((resolve) => {
        child.once("error", (error: NodeJS.ErrnoException) => {
          // Also after the start, when it could not be sent a signal.
          if (child.pid === undefined)
            resolve({ exitCode: error.code === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE, error });
        });
        child.once("exit", (code, signal) => {
          resolve({ exitCode: code ?? 128 + (signal === null ? 0 : constants.signals[signal]) });
        });
      });
    } finally {
      this.#child = undefined;
    }
  }

  close(): void {
    for (const signal of [...PASSED_ON, ...OF_TERMINAL]) process.off(signal, this.#listener);
  }

  #on(signal: NodeJS.Signals): void {
    if (this.#child !== undefined) {
      if (PASSED_ON.includes(signal) || !hasTerminal()) this.#child.kill(signal);
      return;
    }
    this.#received ??= signal;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function hasTerminal(): boolean {
  return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
}
