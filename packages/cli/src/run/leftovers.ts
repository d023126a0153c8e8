export interface Leftovers {
  readonly spoolDir: string;
  readonly endpoint: string;
}

/** Milliseconds that sending may take; the collector is on this machine and ours. */
const TIMEOUT_MS = 30_000;

/**
 * Ships the records that processes left in the spool because they called process.exit or were killed. False: some are
 * left.
 */
export async function shipLeftovers({ spoolDir, endpoint }: Leftovers): Promise<boolean> {
  const { shipSpool } = await import("@otel-audit/instrumentation-node");
  return (await shipSpool(spoolDir, { endpoint, timeoutMs: TIMEOUT_MS })).left === 0;
}
