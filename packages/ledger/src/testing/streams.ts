import { tempDir } from "../../../../test/support/index.ts";
import { LedgerDirectory } from "../directory.ts";
import type { LedgerOptions } from "../types.ts";
import { closeLater } from "./open-ledger.ts";

/** A directory for several streams; closed after the test. */
export async function openDirectory(
  options: Partial<LedgerOptions> = {},
): Promise<{ dir: string; directory: LedgerDirectory }> {
  const dir = tempDir("streams");
  const directory = await LedgerDirectory.open({ dir, windowKeys: 100_000, ...options });
  closeLater(() => directory.close());
  return { dir, directory };
}

/** What a promise is now: settled in these turns, or waiting. */
export async function stateOf(promise: Promise<unknown>): Promise<string> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => void setImmediate(resolve));
  return Promise.race([
    promise.then(
      () => "done",
      () => "failed",
    ),
    Promise.resolve("waits"),
  ]);
}
