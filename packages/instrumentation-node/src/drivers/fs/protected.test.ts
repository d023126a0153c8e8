import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type App, makeApp, NODE_MAJOR, type Run, text } from "../../testing/run-app.ts";
import { property } from "../../unknown.ts";

// A protected folder, reached in every other way than by its name: the deny holds, and nothing is touched.

const POLICY = `
policy: test
mode: enforce
default: allow
resources:
  vault: { file: "$WORK/a/vault/**" }
  entry: { file: "$WORK/door/**" }
  config: { file: "$WORK/secret.json" }
rules:
  - { id: no-vault, deny: { resource: vault } }
  - { id: no-entry, deny: { resource: entry } }
  - { id: no-config, deny: { resource: config } }
`;

/** Each with the rule that has to stop it; undefined: it may run. */
const ALL: readonly (readonly [source: string, rule: string | undefined])[] = [
  [`fs.readFileSync("a/vault/key")`, "no-vault"],
  [`fs.readFileSync("a/open")`, undefined],
  // Symbolic links, made before and just now.
  [`fs.readFileSync("link/key")`, "no-vault"],
  [`fs.readFileSync("link2/key")`, "no-vault"],
  [`fs.readFileSync("key")`, "no-vault"],
  [`fs.writeFileSync("link/new", "x")`, "no-vault"],
  [`fs.writeFileSync("future", "x")`, "no-vault"],
  [`fs.createWriteStream("link/new")`, "no-vault"],
  [`fs.readFileSync("b/up/../vault/key")`, "no-vault"],
  [`fsp.readFile(Buffer.from("link/key"))`, "no-vault"],
  [`fsp.readFile(new URL("link/key", base))`, "no-vault"],
  [`fs.readFileSync("/proc/self/cwd/link/key")`, "no-vault"],
  [`fs.mkdirSync("link/x/y", { recursive: true })`, "no-vault"],
  [`fs.unlinkSync("link/key")`, "no-vault"],
  [`fs.chmodSync("key", 0o777)`, "no-vault"],
  [`fs.renameSync("b/f", "link/f")`, "no-vault"],
  [`fs.copyFileSync("link/key", "b/copy")`, "no-vault"],
  [`fs.linkSync("key", "hard")`, "no-vault"],
  [`fs.symlinkSync("a/vault/key", "soft")`, "no-vault"],
  [`fs.symlinkSync("../a/vault", "b/soft")`, "no-vault"],
  [`(process.chdir("link"), fs.readFileSync("key"))`, "no-vault"],
  [
    `{ fs.readFileSync("swap"); fs.unlinkSync("swap"); sh("ln -s a/vault/key swap"); fs.readFileSync("swap"); }`,
    "no-vault",
  ],
  // The link itself may go.
  [`fs.unlinkSync("link2")`, undefined],
  // A rule that names a link holds behind it.
  [`fs.readFileSync("house/room")`, "no-entry"],
  // What takes the folder along.
  [`fs.rmSync("a", { recursive: true })`, "no-vault"],
  [`fsp.rm("a", { recursive: true })`, "no-vault"],
  [`fs.rmSync("b/rest", { recursive: true })`, undefined],
  [`fs.cpSync("a", "copied", { recursive: true })`, "no-vault"],
  // Of several rules the first by id.
  [`fsp.cp(".", "../elsewhere", { recursive: true, filter: () => true })`, "no-config"],
  [`fs.renameSync("a", "moved")`, "no-vault"],
  [`fsp.rename("b/dir", "b/dir2")`, undefined],
  [`fs.readdirSync("a", { recursive: true })`, "no-vault"],
  [`fs.readdirSync("a")`, undefined],
  [`fs.globSync("a/**")`, "no-vault"],
  [`Array.fromAsync(fsp.glob("a/*/*"))`, "no-vault"],
  [`fs.globSync("b/*")`, undefined],
  // Answers that change.
  [`fs.readFileSync(fickle("a/open", "a/vault/key"))`, "no-vault"],
  [
    `fs.writeFileSync({ href: "file:", protocol: "file:", hostname: "", get pathname() { return turn++ % 2 ? "$WORK/a/open" : "$WORK/a/vault/key"; } }, "x")`,
    "no-vault",
  ],
  [`fsp.readFile(Object.defineProperty(Buffer.from("a/vault/key"), "byteLength", { value: 3 }))`, "no-vault"],
  [`fsp.readFile(vm.runInNewContext("Uint8Array.from(bytes)", { bytes: Buffer.from("a/vault/key") }))`, "no-vault"],
  // Other doors.
  [`process.loadEnvFile("link/key")`, "no-vault"],
  [`fs.openAsBlob("link/key")`, "no-vault"],
  [`new sqlite.DatabaseSync("link/db")`, "no-vault"],
  [`new sqlite.DatabaseSync("file:a/vault/d%62?mode=rwc")`, "no-vault"],
  [`new (new sqlite.DatabaseSync(":memory:").constructor)("link/db")`, "no-vault"],
  [`new (class extends sqlite.DatabaseSync {})(new URL("link/db?mode=ro", base))`, "no-vault"],
  [`v8.writeHeapSnapshot("a/vault/heap")`, "no-vault"],
  [`process.report.writeReport("a/vault/report")`, "no-vault"],
  [`fs.watch("a/vault")`, "no-vault"],
  [`fs.watchFile("a/vault", () => {})`, "no-vault"],
  [`require("./secret.json")`, "no-config"],
  [`require("./alias.json")`, "no-config"],
  [`import(new URL("./secret.json", base), { with: { type: "json" } })`, "no-config"],
  [`require("./open.json")`, undefined],
  [`new Module("x").load("$WORK/a/vault/key")`, "no-vault"],
];

/** Before Node 22 there is neither. */
const WAYS = ALL.filter(([source]) => NODE_MAJOR >= 22 || !/sqlite|glob/.test(source));

const APP = `
import fs from "node:fs";
import fsp from "node:fs/promises";
import vm from "node:vm";
import v8 from "node:v8";
import { createRequire, Module } from "node:module";
import { execSync } from "node:child_process";
import { once } from "node:events";
import { pathToFileURL } from "node:url";
import { withAgent } from "$INDEX";
const work = "$WORK";
const base = pathToFileURL(work + "/");
const sqlite = process.getBuiltinModule?.("node:sqlite");
const require = createRequire(work + "/x.js");
const sh = (command) => execSync(command);
let turn = 0;
const fickle = (first, second) => ({ href: "file:", protocol: "file:", hostname: "", get pathname() { return work + "/" + (turn++ === 0 ? second : first); } });
const results = [];
const ways = [ $WAYS ];
for (const [id, run] of ways.entries()) {
  process.chdir(work);
  turn = 0;
  let rule = null;
  try {
    const result = withAgent({ id: "agent:" + id }, run);
    if (typeof result?.on === "function") await Promise.race([once(result, "open"), once(result, "close")]).catch((error) => { throw error; });
    else await result;
    result?.close?.();
  } catch (error) {
    rule = error.code === "EAUDITDENIED" ? error.rule : String(error);
  }
  results.push(rule);
}
console.log(JSON.stringify(results));
`;

const PREPARE = `
import fs from "node:fs";
fs.mkdirSync("a/vault", { recursive: true });
fs.mkdirSync("b/rest/x", { recursive: true });
fs.mkdirSync("b/dir");
fs.mkdirSync("house");
for (const name of ["a/vault/key", "a/open", "b/f", "house/room", "swap"]) fs.writeFileSync(name, "A=1");
fs.writeFileSync("secret.json", "{}");
fs.writeFileSync("open.json", "{}");
fs.symlinkSync("secret.json", "alias.json");
fs.symlinkSync("a/vault", "link");
fs.symlinkSync("link", "link2");
fs.symlinkSync("a/vault/key", "key");
fs.symlinkSync("a/vault/future", "future");
fs.symlinkSync("../a/vault", "b/up");
fs.symlinkSync("house", "door");
`;

let app: App;
let run: Run;
let results: unknown;

beforeAll(async () => {
  const ways = WAYS.map(([source]) => `() => ${source}`).join(",\n");
  app = await makeApp({ "main.mjs": APP.replace("$WAYS", () => ways), "prepare.mjs": PREPARE, "policy.yaml": POLICY });
  await app.run({ main: "prepare.mjs", nodeArgs: [] });
  run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
  results = run.stdout === "" ? run.stderr : JSON.parse(run.stdout);
});

afterAll(() => app[Symbol.asyncDispose]());

test.each(WAYS.map(([source, rule], i) => ({ source, rule, i })))("$source", ({ rule, i }) => {
  expect(property(results, i)).toBe(rule ?? null);
  const denied = run.actions.filter(
    (span) => text(span, "audit.actor.id") === `agent:${i}` && text(span, "error.type") !== "",
  );
  expect(denied.map((span) => text(span, "audit.policy.rule.id"))).toEqual(rule === undefined ? [] : [rule]);
});

test("the vault is as it was", () => {
  expect(readdirSync(join(app.work, "a/vault"))).toEqual(["key"]);
  expect(existsSync(join(app.work, "b/f"))).toBe(true);
});
