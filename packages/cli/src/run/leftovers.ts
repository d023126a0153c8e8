import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";

export interface Leftovers {
  readonly spoolDir: string;
  readonly endpoint: string;
  /** Address of the module that starts the audit. */
  readonly register: string;
}

/** Agent of the process that ships; its records are about itself only. */
export const SHIPPER_AGENT = "otel-audit:spool";

/**
 * Ships the records that processes left in the spool because they called process.exit or were killed. Every audited
 * process does that for those before it, so one that has nothing else to do is enough. False: some are left.
 */
export async function shipLeftovers({ spoolDir, endpoint, register }: Leftovers): Promise<boolean> {
  if (await isEmpty(spoolDir)) return true;
  const child = spawn(process.execPath, [`--import=${register}`, "--eval", "0"], {
    stdio: "ignore",
    env: {
      PATH: process.env.PATH,
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_AUDIT_SPOOL_DIR: spoolDir,
      OTEL_AUDIT_AGENT_ID: SHIPPER_AGENT,
    },
  });
  await new Promise((resolve) => {
    child.once("error", resolve);
    child.once("exit", resolve);
  });
  return isEmpty(spoolDir);
}

/** A process that sent everything removes its folder; files are what a collector refused. */
async function isEmpty(spoolDir: string): Promise<boolean> {
  if (!existsSync(spoolDir)) return true;
  const entries = await readdir(spoolDir, { withFileTypes: true });
  return !entries.some((entry) => entry.isDirectory() && !entry.name.startsWith("."));
}
