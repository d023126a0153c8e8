// `npm run bench [name…] [-- --option…]`: every figure beside its peer, each in a process of its own, which gets the options.
// `--help` says what each measures and which options it has. Without a name all run but those of half an hour (memory).
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { headOf } from "../test/support/index.ts";

/** Half an hour and more: only when they are named. */
const LONG = new Set(["memory"]);
const folder = fileURLToPath(new URL(".", import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith(".ts") && file !== "run.ts")
  .map((file) => basename(file, ".ts"));
const firstOption = process.argv.findIndex((argument) => argument.startsWith("--"));
const options = firstOption < 0 ? [] : process.argv.slice(firstOption);
const wanted = process.argv.slice(2, firstOption < 0 ? undefined : firstOption);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`bench: unknown: ${unknown.join(", ")}; there are ${names.join(", ")}\n`);
  process.exit(2);
}

if (options.includes("--help")) {
  for (const name of wanted.length > 0 ? wanted : ["run", ...names])
    process.stdout.write(`== ${name}\n${headOf(`${folder}${name}.ts`)}\n`);
  process.exit(0);
}

let failed = false;
for (const name of wanted.length > 0 ? wanted : names.filter((name) => !LONG.has(name))) {
  process.stdout.write(`\n== ${name}\n`);
  const { status } = spawnSync(process.execPath, [`${folder}${name}.ts`, ...options], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
