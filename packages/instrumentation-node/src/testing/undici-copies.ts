import { cpSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import type * as Undici from "undici";

import { tempDir } from "../../../../test/support/index.ts";

const require = createRequire(import.meta.url);

/**
 * A fresh copy of undici in a directory of its own, as an application has it that depends on that version.
 * @param installed `undici` (8), `undici7` or `undici6`
 * @param name what its directory is called; another one than its own: nothing says that it is undici
 */
export function undiciCopy(installed: "undici" | "undici7" | "undici6", name = "undici"): typeof Undici {
  const to = join(tempDir("undici"), "node_modules", name);
  mkdirSync(to, { recursive: true });
  const manifest = require.resolve(`${installed}/package.json`);
  cpSync(dirname(manifest), to, {
    recursive: true,
    filter: (path) => !/\/(?:docs|types)$/.test(path) && (name === "undici" || path !== manifest),
  });
  const copy: typeof Undici = require(to);
  return copy;
}
