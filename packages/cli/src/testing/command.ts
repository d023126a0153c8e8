import { fileURLToPath } from "node:url";
import { startProcess, type ProcessOptions, type RunningProcess } from "../../../../test/support/index.ts";

const BIN = fileURLToPath(new URL("../../bin/otel-audit.js", import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the person who runs the tests has set must not decide them. */
const CLEAN = {
  NO_COLOR: undefined,
  FORCE_COLOR: undefined,
  DEBUG: undefined,
  NODE_OPTIONS: undefined,
  OTEL_AUDIT_TOKEN: undefined,
};

/** Starts the real command, as it was built. */
export function startOtelAudit(args: readonly string[], options: ProcessOptions = {}): Promise<RunningProcess> {
  return startProcess(process.execPath, [BIN, ...args], { ...options, env: { ...CLEAN, ...options.env } });
}

/** The same by a shell, in whose script it is `"$@"`. */
export function startInShell(script: string, args: readonly string[]): Promise<RunningProcess> {
  return startProcess("/bin/sh", ["-c", script, "sh", process.execPath, BIN, ...args], { env: CLEAN });
}

async function runWith(options: ProcessOptions, ...args: string[]): Promise<Ended> {
  await using child = await startOtelAudit(args, options);
  const { code } = await child.exited;
  return { code, stdout: child.stdout, stderr: child.stderr };
}

/** Runs the real command to its end. */
export const otelAudit = Object.assign((...args: string[]) => runWith({}, ...args), { with: runWith });
