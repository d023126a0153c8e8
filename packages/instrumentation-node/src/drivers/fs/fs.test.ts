import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type App, makeApp, NODE_MAJOR, type Run, summary, text } from "../../testing/run-app.ts";

/** A call and what it must leave behind: exactly one record. `$` is the working directory, `*` a generated name. */
interface Case {
  readonly name: string;
  /** Arguments as source text; `made`, `tree` and `unique` are in scope. */
  readonly args: string;
  /** Without a record where undefined. */
  readonly record: string | undefined;
  readonly read?: string;
  readonly write?: string;
}

/** Run as promise, callback and Sync function. */
const FAMILIES: readonly Case[] = [
  { name: "readFile", args: `"a.txt"`, record: "file.read READ success $/a.txt" },
  { name: "readFile", args: `"a.txt", "utf8"`, record: "file.read READ success $/a.txt" },
  { name: "readFile", args: `Buffer.from("a.txt")`, record: "file.read READ success $/a.txt" },
  { name: "readFile", args: `pathToFileURL("a.txt")`, record: "file.read READ success $/a.txt" },
  {
    name: "readFile",
    // A URL of another implementation, as Node takes it.
    args: `{ href: "file:", protocol: "file:", hostname: "", pathname: process.cwd() + "/a.txt" }`,
    record: "file.read READ success $/a.txt",
  },
  { name: "readFile", args: `"sub/../a.txt"`, record: "file.read READ failure ENOENT $/a.txt" },
  { name: "readFile", args: `"nul\\0byte"`, record: "file.read READ failure ERR_INVALID_ARG_VALUE $/nul%00byte" },
  { name: "readFile", args: `fs.openSync("a.txt")`, record: undefined },
  { name: "readFile", args: `"new.txt", { flag: "w+" }`, record: "file.write WRITE success $/new.txt" },
  { name: "writeFile", args: `"with space.txt", "x"`, record: "file.write WRITE success $/with%20space.txt" },
  { name: "writeFile", args: `unique("x"), "x", { flag: "wx" }`, record: "file.create CREATE success $/x-*" },
  { name: "appendFile", args: `"a.txt", ""`, record: "file.write WRITE success $/a.txt" },
  { name: "readdir", args: `"."`, record: "file.list READ success $" },
  { name: "readdir", args: `".", { recursive: true }`, record: "file.list READ success $" },
  { name: "opendir", args: `"."`, record: "file.list READ success $" },
  { name: "mkdir", args: `"m/n", { recursive: true }`, record: "file.create CREATE success $/m/n" },
  { name: "mkdtemp", args: `"tmp-"`, record: "file.create CREATE success $/tmp-" },
  { name: "truncate", args: `made("t"), 0`, record: "file.change UPDATE success $/t-*" },
  { name: "chmod", args: `"a.txt", 0o600`, record: "file.change UPDATE success $/a.txt" },
  { name: "chown", args: `"a.txt", uid, gid`, record: "file.change UPDATE success $/a.txt" },
  { name: "lchown", args: `"a.txt", uid, gid`, record: "file.change UPDATE success $/a.txt" },
  { name: "utimes", args: `"a.txt", 1, 1`, record: "file.change UPDATE success $/a.txt" },
  { name: "lutimes", args: `"a.txt", 1, 1`, record: "file.change UPDATE success $/a.txt" },
  {
    name: "copyFile",
    args: `"a.txt", "b.txt"`,
    record: "file.copy WRITE success $/b.txt",
    read: "$/a.txt",
    write: "$/b.txt",
  },
  {
    name: "copyFile",
    args: `"a.txt", unique("e"), fs.constants.COPYFILE_EXCL`,
    record: "file.copy CREATE success $/e-*",
    read: "$/a.txt",
    write: "$/e-*",
  },
  {
    name: "cp",
    args: `tree("c"), "copied", { recursive: true }`,
    record: "file.copy WRITE success $/copied",
    read: "$/c-*",
    write: "$/copied",
  },
  {
    name: "rename",
    args: `made("r"), "moved.txt"`,
    record: "file.rename UPDATE success $/r-*",
    read: "$/r-*",
    write: "$/r-*,$/moved.txt",
  },
  {
    name: "link",
    args: `"a.txt", unique("l")`,
    record: "file.link CREATE success $/l-*",
    read: "$/a.txt",
    write: "$/l-*",
  },
  {
    name: "symlink",
    args: `"../a.txt", unique("dir/s")`,
    record: "file.link CREATE success $/dir/s-*",
    read: "$/a.txt",
    write: "$/dir/s-*",
  },
  { name: "unlink", args: `made("u")`, record: "file.delete DELETE success $/u-*" },
  { name: "rm", args: `made("u")`, record: "file.delete DELETE success $/u-*" },
  { name: "rm", args: `tree("u"), { recursive: true }`, record: "file.delete DELETE success $/u-*" },
  { name: "rm", args: `"never", { force: true }`, record: "file.delete DELETE success $/never" },
  { name: "rmdir", args: `fs.mkdtempSync("d-")`, record: "file.delete DELETE success $/d-*" },
  { name: "open", args: `"a.txt"`, record: "file.read READ success $/a.txt" },
  { name: "open", args: `"a.txt", "r+"`, record: "file.write WRITE success $/a.txt" },
  { name: "open", args: `"a.txt", fs.constants.O_RDONLY`, record: "file.read READ success $/a.txt" },
  { name: "open", args: `unique("o"), "ax"`, record: "file.create CREATE success $/o-*" },
  { name: "stat", args: `"a.txt"`, record: undefined },
  { name: "access", args: `"a.txt"`, record: undefined },
  { name: "realpath", args: `"a.txt"`, record: undefined },
];

/** Calls that exist in one form only, as source text. */
const ALL_SINGLES: readonly (readonly [source: string, record: string | undefined])[] = [
  [`ended(fs.createReadStream("a.txt").resume())`, "file.read READ success $/a.txt"],
  [`ended(fs.createReadStream("none").resume())`, "file.read READ failure ENOENT $/none"],
  [`ended(fs.createWriteStream("s.txt").end("x"))`, "file.write WRITE success $/s.txt"],
  [`ended(new fs.ReadStream("a.txt").resume())`, "file.read READ success $/a.txt"],
  // The loader as a reader of anything.
  [
    `Object.assign(new Module("x"), { _compile() {} }).load(process.cwd() + "/a.txt")`,
    "file.read READ success $/a.txt",
  ],
  [`Object.assign(new Module("x"), { _compile() {} }).load(process.cwd() + "/a.js")`, undefined],
  [`fs.openAsBlob("a.txt")`, "file.read READ success $/a.txt"],
  [
    `handle(async (file) => (await file.stat(), await file.readFile(), fsp.readFile(file)))`,
    "file.read READ success $/a.txt",
  ],
  [`fs.watch("a.txt").close()`, "file.read READ success $/a.txt"],
  [`fs.existsSync("a.txt")`, undefined],
  [`fs.realpathSync.native("a.txt")`, undefined],
  [`util.promisify(fs.exists)("a.txt")`, undefined],
  [`util.promisify(fs.readFile)("a.txt")`, "file.read READ success $/a.txt"],
  [`Array.fromAsync(fsp.glob("dir/*.txt"))`, "file.list READ success $/dir"],
  [`new Promise((done) => fs.glob("dir/*.txt", done))`, "file.list READ success $/dir"],
  [`fs.globSync("dir/**/*.txt")`, "file.list READ success $/dir"],
];

/** Before Node 22 there is no `glob`. */
const SINGLES = ALL_SINGLES.filter(([source]) => NODE_MAJOR >= 22 || !source.includes("glob"));

const APP = `
import fs from "node:fs";
import fsp from "node:fs/promises";
import util from "node:util";
import { once } from "node:events";
import { Module } from "node:module";
import { pathToFileURL } from "node:url";
import { withAgent } from "$INDEX";

const [uid, gid] = [process.getuid(), process.getgid()];
let count = 0;
const unique = (name) => name + "-" + ++count;
const made = (name) => { const path = unique(name); fs.writeFileSync(path, "x"); return path; };
const tree = (name) => { const path = unique(name); fs.mkdirSync(path + "/deep", { recursive: true }); fs.writeFileSync(path + "/deep/f", ""); return path; };
const ended = (stream) => once(stream, "close").catch(() => {});
const handle = async (fn) => { const file = await fsp.open("a.txt"); await fn(file); await file.close(); };
withAgent({ id: "agent:setup" }, () => { fs.writeFileSync("a.txt", "hello"); fs.writeFileSync("a.js", ""); fs.mkdirSync("dir"); });

const styles = {
  promise: (name, args) => fsp[name](...args),
  callback: (name, args) => new Promise((resolve, reject) => fs[name](...args, (error, value) => (error ? reject(error) : resolve(value)))),
  sync: (name, args) => fs[name + "Sync"](...args),
};
async function attempt(id, prepare, run) {
  const args = withAgent({ id: "agent:setup" }, prepare);
  try {
    const result = await withAgent({ id }, () => run(args));
    if (typeof result === "number") fs.closeSync(result);
    else await result?.close?.();
  } catch {}
}
const families = { $FAMILIES };
for (const [id, [name, prepare]] of Object.entries(families))
  for (const [style, run] of Object.entries(styles)) await attempt(id + "." + style, prepare, (args) => run(name, args));
const singles = { $SINGLES };
for (const [id, run] of Object.entries(singles)) await attempt(id, () => {}, run);
`;

let app: App;
let run: Run;

beforeAll(async () => {
  const families = FAMILIES.map(({ name, args }, i) => `"family.${i}": ["${name}", () => [${args}]]`).join(",\n");
  const singles = SINGLES.map(([source], i) => `"single.${i}": () => ${source}`).join(",\n");
  app = await makeApp({ "main.mjs": APP.replace("$FAMILIES", () => families).replace("$SINGLES", () => singles) });
  run = await app.run();
});

afterAll(() => app[Symbol.asyncDispose]());

function recordsOf(agent: string): string[] {
  return run.actions.filter((span) => text(span, "audit.actor.id") === agent).map((span) => short(summary(span)));
}

function short(line: string): string {
  return line.replaceAll(`file://${app.work}`, "$").replaceAll(/(?<=\/[a-z]-)\w+/g, "*");
}

function ids(agent: string, key: string): string | undefined {
  const span = run.actions.find((span) => text(span, "audit.actor.id") === agent);
  const value = span?.attributes?.[key];
  return Array.isArray(value) ? short(value.join(",")) : undefined;
}

test("the application ran to its end", () => {
  expect(run).toMatchObject({ code: 0 });
});

describe.each(FAMILIES.map((family, i) => ({ ...family, i })))("$name($args)", ({ i, record, read, write }) => {
  test.each(["promise", "callback", "sync"])("%s", (style) => {
    const agent = `family.${i}.${style}`;
    expect(recordsOf(agent)).toEqual(record === undefined ? [] : [record]);
    expect(ids(agent, "audit.target.read_ids")).toBe(read);
    expect(ids(agent, "audit.target.write_ids")).toBe(write);
  });
});

test.each(SINGLES.map(([source, record], i) => ({ source, record, i })))("$source", ({ record, i }) => {
  expect(recordsOf(`single.${i}`)).toEqual(record === undefined ? [] : [record]);
});
