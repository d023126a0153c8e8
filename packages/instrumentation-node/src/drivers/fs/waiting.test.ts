import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type App, makeApp, NODE_MAJOR, type Run, summary, text } from "../../testing/run-app.ts";
import { property } from "../../unknown.ts";

const POLICY = `
policy: test
mode: enforce
default: allow
resources: { guarded: { file: "**/guarded*" } }
rules: [{ id: ask, review: { agent: { not: none }, resource: guarded } }]
`;

/**
 * Calls that wait for an answer: what starts them, and what they come to when they are allowed. `change` is called while
 * they wait. What is denied says so in the same way.
 */
const ALL: Readonly<Record<string, readonly [source: string, allowed: string]>> = {
  callback: [
    `new Promise((done) => fs.writeFile("guarded", "x", function (error) { done(said("called back", error)); }))`,
    "called back",
  ],
  promise: [
    `fsp.writeFile("guarded", "x").then(() => said("resolved"), (error) => said("rejected", error))`,
    "resolved",
  ],
  promisified: [
    `util.promisify(fs.writeFile)("guarded", "x").then(() => said("resolved"), (error) => said("rejected", error))`,
    "resolved",
  ],
  open: [
    `fsp.open("guarded", "w").then((file) => (file.close(), said("resolved")), (error) => said("rejected", error))`,
    "resolved",
  ],
  stream: [
    `new Promise((done) => fs.createWriteStream("guarded").on("error", (error) => done(said("error event", error))).on("finish", () => done(said("finished"))).end("x"))`,
    "finished",
  ],
  iterator: [
    `Array.fromAsync(fsp.glob("guarded/*")).then((found) => said("found " + found.length), (error) => said("rejected", error))`,
    "found 0",
  ],
  recursive: [
    `fsp.cp("d", "guarded", { recursive: true }).then(() => said("resolved"), (error) => said("rejected", error))`,
    "resolved",
  ],
  "a URL that changes": [
    `{ const url = new URL("guarded", base); change = () => { url.pathname = "/nowhere/x"; }; return fsp.writeFile(url, "x").then(() => said("resolved"), (error) => said("rejected", error)); }`,
    "resolved",
  ],
  "bytes that change": [
    `{ const path = Buffer.from("guarded"); change = () => path.fill("z"); return fsp.writeFile(path, "x").then(() => said("resolved"), (error) => said("rejected", error)); }`,
    "resolved",
  ],
  "options that change": [
    `{ const options = { flag: "w" }; change = () => { options.flag = "wx+bad"; }; return fsp.writeFile("guarded", "x", options).then(() => said("resolved"), (error) => said("rejected", error)); }`,
    "resolved",
  ],
  "wrong arguments": [
    `new Promise((done) => fs.mkdir("guarded", { mode: "no mode" }, (error) => done(said("called back", error))))`,
    "called back ERR_INVALID_ARG_VALUE",
  ],
};

/** Before Node 22 there is no `glob`. */
const CALLS = Object.fromEntries(Object.entries(ALL).filter(([name]) => NODE_MAJOR >= 22 || name !== "iterator"));

const APP = `
import fs from "node:fs";
import fsp from "node:fs/promises";
import util from "node:util";
import { pathToFileURL } from "node:url";
import { setApprover, currentAgent, withAgent } from "$INDEX";
const base = pathToFileURL("$WORK/");
fs.mkdirSync("d");
const waiting = [];
setApprover(() => new Promise((resolve) => waiting.push(resolve)));
let change = () => {};
const said = (how, error) => [how, ...(error ? [error.code] : []), currentAgent()?.id].join(" ");
const calls = { $CALLS };
const all = {};
for (const [name, start] of Object.entries(calls)) for (const decision of ["allow", "deny"]) {
  fs.rmSync("guarded", { recursive: true, force: true });
  change = () => {};
  const result = withAgent({ id: name + "." + decision }, start);
  while (waiting.length === 0) await new Promise(setImmediate);
  const early = fs.existsSync("guarded");
  change();
  waiting.shift()({ decision, by: "user:b" });
  all[name + "." + decision] = { early, heard: await result, late: fs.existsSync("guarded") };
}
let sync;
try { withAgent({ id: "sync" }, () => fs.writeFileSync("guarded", "x")); } catch (error) { sync = error.code; }
console.log(JSON.stringify({ all, sync, asked: waiting.length }));
`;

let app: App;
let run: Run;
let result: unknown;

beforeAll(async () => {
  const calls = Object.entries(CALLS).map(([name, [source]]) =>
    source.startsWith("{") ? `"${name}": () => ${source}` : `"${name}": () => (${source})`,
  );
  app = await makeApp({ "main.mjs": APP.replace("$CALLS", () => calls.join(",\n")) });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.work, "policy.yaml") } });
  result = run.stdout === "" ? run.stderr : JSON.parse(run.stdout);
});

afterAll(() => app[Symbol.asyncDispose]());

function recordsOf(agent: string): string[] {
  return run.actions
    .filter((span) => text(span, "audit.actor.id") === agent && text(span, "audit.event.name").startsWith("file."))
    .map((span) => summary(span).replace(/ file:\S+/, ""));
}

test.each(Object.entries(CALLS))(
  "%s: nothing happens before the answer, and then what it says",
  (name, [, allowed]) => {
    const all = property(result, "all");
    const works = !/ERR_|found/.test(allowed);
    expect(property(all, `${name}.allow`)).toEqual({ early: false, heard: `${allowed} ${name}.allow`, late: works });
    const how = { resolved: "rejected", finished: "error event", "found 0": "rejected" }[allowed] ?? "called back";
    expect(property(all, `${name}.deny`)).toEqual({
      early: false,
      heard: `${how} EAUDITDENIED ${name}.deny`,
      late: false,
    });
    expect(recordsOf(`${name}.allow`)).toHaveLength(1);
    expect(recordsOf(`${name}.deny`)).toEqual([expect.stringContaining("failure policy_denied")]);
  },
);

test("what cannot wait is denied, and nobody is asked", () => {
  expect(result).toMatchObject({ sync: "EAUDITDENIED", asked: 0 });
  expect(() => readFileSync(join(app.work, "guarded"))).toThrow("ENOENT");
});

test("what was approved is what is done: another directory, other links", async () => {
  await using moving = await makeApp({
    "main.mjs": `import fs from "node:fs"; import fsp from "node:fs/promises"; import { setApprover } from "$INDEX";
      fs.mkdirSync("to"); fs.mkdirSync("from"); fs.symlinkSync("from", "link"); fs.symlinkSync("to", "other");
      const waiting = []; setApprover(() => new Promise((resolve) => waiting.push(resolve)));
      const until = async () => { while (waiting.length === 0) await new Promise(setImmediate); return waiting.shift(); };
      const allow = { decision: "allow", by: "user:b" };
      const here = process.cwd();
      const first = fsp.writeFile("guarded-1", "x");
      let go = await until(); process.chdir("to"); go(allow); await first; process.chdir(here);
      const second = new Promise((done) => fs.writeFile("link/guarded-2", "x", (error) => done(error?.rule)));
      go = await until(); fs.renameSync("link", "gone"); fs.renameSync("other", "link"); go(allow);
      console.log(JSON.stringify([await second, fs.existsSync("guarded-1"), fs.readdirSync("to")]));`,
    "policy.yaml": POLICY.replace("{ agent: { not: none }, resource: guarded }", "{ resource: guarded }"),
  });
  const { stdout, stderr } = await moving.run({
    env: { OTEL_AUDIT_POLICY: join(moving.dir, "policy.yaml"), OTEL_AUDIT_AGENT_ID: "agent:a" },
  });
  expect(stdout === "" ? stderr : JSON.parse(stdout)).toEqual(["changed_while_waiting", true, []]);
});
