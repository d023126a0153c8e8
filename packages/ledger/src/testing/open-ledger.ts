import { afterEach } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { Ledger } from "../ledger.ts";
import type { LedgerOptions } from "../types.ts";
import { openGates } from "./disks.ts";

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  openGates();
  for (const close of closing.splice(0).toReversed()) await close().catch(() => undefined);
});

/** Closed after the test, the last one first. */
export function closeLater(close: () => Promise<unknown>): void {
  closing.push(close);
}

/** A ledger that closes no segment by its age, unless it is told to; closed after the test. */
export async function openLedger(options: Partial<LedgerOptions> = {}): Promise<Ledger> {
  const ledger = await Ledger.open({
    dir: tempDir("ledger"),
    maxSegmentAgeMs: 60_000,
    windowKeys: 10_000,
    onAlarm: () => undefined,
    ...options,
  });
  closeLater(() => ledger.close());
  return ledger;
}
