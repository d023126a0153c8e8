import { mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { reapDirectory } from "./reaper.ts";

/**
 * Makes an empty directory that is removed with all that is in it when this process ends, however it ends. The path has
 * no symbolic links in it, so that it equals what canonical target ids say.
 *
 * @param name a word that shows in the path
 */
export function tempDir(name = "test"): string {
  const directory = mkdtempSync(join(realpathSync(tmpdir()), `otel-audit-${name}-`));
  reapDirectory(directory);
  return directory;
}
