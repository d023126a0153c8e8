import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { rolldown } from "rolldown";
import { beforeAll, expect, test } from "vitest";

import { tempDir } from "../../../test/support/index.ts";
import { makeApp } from "./testing/run-app.ts";

// In dist/ it is no file of its own.
const hook = join(tempDir("module-hook"), "module-hook.mjs");
const HOOK = pathToFileURL(hook).href;
beforeAll(async () => {
  const bundle = await rolldown({ input: fileURLToPath(new URL("module-hook.ts", import.meta.url)), platform: "node" });
  await bundle.write({ file: hook, format: "esm" });
});

/** A package that logs itself, in CommonJS, with a second file. */
const PACKAGE = {
  "node_modules/lib/package.json": `{ "name": "lib", "version": "1.2.3", "main": "./dist/main.js" }`,
  "node_modules/lib/dist/main.js": `exports.inner = require("./inner"); exports.value = "original"; exports.Class = class { say() { return "original"; } };`,
  "node_modules/lib/dist/inner.js": `exports.value = "original";`,
  "node_modules/@scope/lib/package.json": `{ "name": "@scope/lib", "version": "4.5.6" }`,
  "node_modules/@scope/lib/index.js": `exports.value = "original";`,
};

const PRELOAD = `import { onPackage } from "${HOOK}";
  const hook = (exports, { name, version }) => { exports.value = name + " " + version; if (exports.Class) exports.Class.prototype.say = () => "patched"; };
  onPackage("lib", hook); onPackage("lib/dist/inner.js", hook); onPackage("@scope/lib", hook);
  onPackage("lib", () => { throw new Error("a hook that throws hurts nobody"); });`;

test.each([
  ["require.cjs", `const lib = require("lib"); console.log(lib.value, lib.inner.value, require("@scope/lib").value);`],
  [
    "import.mjs",
    `import lib from "lib"; import scoped from "@scope/lib"; console.log(lib.value, lib.inner.value, scoped.value);`,
  ],
  ["named.mjs", `import { Class } from "lib"; console.log(new Class().say());`],
  ["dynamic.mjs", `const { default: lib } = await import("lib"); console.log(lib.value);`],
])("%s: the package is patched before it is handed out", async (main, source) => {
  await using app = await makeApp({ [main]: source, "preload.mjs": PRELOAD, ...PACKAGE });
  const run = await app.run({ nodeArgs: ["--import", `${app.dir}/preload.mjs`] });
  expect(run.stderr).toBe("");
  expect(["lib 1.2.3 lib 1.2.3 @scope/lib 4.5.6", "patched", "lib 1.2.3"]).toContain(run.stdout.trim());
});

test("a package that was loaded before is patched at once, each copy once", async () => {
  await using app = await makeApp({
    "main.mjs": `import { createRequire } from "node:module"; import { onPackage } from "${HOOK}";
      const lib = createRequire(import.meta.url)("lib"); let calls = 0;
      const stop = onPackage("lib", (exports) => { calls++; exports.value = "late"; });
      console.log(lib.value, calls); createRequire(import.meta.url)("lib"); stop(); console.log(calls);`,
    ...PACKAGE,
  });
  const run = await app.run({ nodeArgs: [] });
  expect(run.stdout).toBe("late 1\n1\n");
});

/** The files of a package of these under another name. */
function alias(from: string, to: string): Record<string, string> {
  const own = Object.entries(PACKAGE).filter(([file]) => file.includes(`/${from}/`));
  return Object.fromEntries(own.map(([file, text]) => [file.replace(`/${from}/`, `/${to}/`), text]));
}

test("a package that is installed under another name is the one that it says it is", async () => {
  await using app = await makeApp({
    "main.cjs": `console.log(require("scoped").value, require("other").inner.value, require("stranger").value);`,
    "preload.mjs": PRELOAD,
    ...alias("@scope/lib", "scoped"),
    ...alias("lib", "other"),
    "node_modules/stranger/package.json": `{ "name": "stranger" }`,
    "node_modules/stranger/index.js": `exports.value = "original";`,
  });
  const run = await app.run({ nodeArgs: ["--import", `${app.dir}/preload.mjs`] });
  expect([run.stdout, run.stderr]).toEqual(["@scope/lib 4.5.6 lib 1.2.3 original\n", ""]);
});

test("pg is seen under every import style", async () => {
  const require = createRequire(import.meta.url);
  const main = require.resolve("pg").replaceAll("\\", "/");
  await using app = await makeApp({
    "main.mjs": `import { onPackage } from "${HOOK}"; const seen = [];
      onPackage("pg", (exports, { version }) => seen.push(typeof exports.Client, version));
      const esm = await import("${new URL("../esm/index.mjs", `file://${main}`).href}");
      console.log(seen.length, seen[0], esm.Client === esm.default.Client);`,
  });
  const run = await app.run({ nodeArgs: [] });
  expect(run.stdout).toBe("2 function true\n");
});
