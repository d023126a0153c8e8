import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { tempDir } from "../../../test/support/index.ts";
import { isInstalled } from "./installed.ts";

const NAME = "otel-audit-test-package";

function layout(...folders: readonly string[]): string {
  const root = tempDir("installed");
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  return root;
}

test("a package is found from the main file, through links, from the working directory, and in the store of pnpm", () => {
  const elsewhere = layout("empty");
  const npm = layout(`app/node_modules/${NAME}`, "app/dist/deep");
  writeFileSync(join(npm, "app/dist/deep/main.js"), "");
  expect(isInstalled(NAME, join(npm, "app/dist/deep/main.js"), elsewhere)).toBe(true);
  symlinkSync(join(npm, "app/dist/deep/main.js"), join(elsewhere, "link.js"));
  expect(isInstalled(NAME, join(elsewhere, "link.js"), elsewhere)).toBe(true);
  // `node app`
  expect(isInstalled(NAME, join(npm, "app"), elsewhere)).toBe(true);
  expect(isInstalled(NAME, undefined, join(npm, "app/dist"))).toBe(true);
  const pnpm = layout(`node_modules/.pnpm/node_modules/${NAME}`);
  expect(isInstalled(NAME, join(pnpm, "main.js"), elsewhere)).toBe(true);
  expect(isInstalled(NAME, join(elsewhere, "gone.js"), elsewhere)).toBe(false);
  expect(isInstalled(NAME, undefined, elsewhere)).toBe(false);
});
