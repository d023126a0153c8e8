import { createRequire } from "node:module";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { makeApp, NODE_MAJOR, summary, text } from "./testing/run-app.ts";

/** Every way to get at the same function. */
const IMPORTS: Readonly<Record<string, string>> = {
  "default.mjs": `import fs from "node:fs"; fs.readFileSync("f");`,
  "bare.mjs": `import fs from "fs"; fs.readFileSync("f");`,
  "namespace.mjs": `import * as fs from "node:fs"; fs.readFileSync("f");`,
  "named.mjs": `import { readFileSync } from "node:fs"; readFileSync("f");`,
  "promises-default.mjs": `import fs from "node:fs/promises"; await fs.readFile("f");`,
  "promises-named.mjs": `import { readFile } from "node:fs/promises"; await readFile("f");`,
  "promises-of-fs.mjs": `import { promises } from "node:fs"; await promises.readFile("f");`,
  "dynamic.mjs": `const { readFileSync } = await import("node:fs"); readFileSync("f");`,
  "builtin.mjs": `process.getBuiltinModule("node:fs").readFileSync("f");`,
  "require.cjs": `require("node:fs").readFileSync("f");`,
  "destructured.cjs": `const { readFileSync } = require("fs"); readFileSync("f");`,
  "promises.cjs": `require("fs/promises").readFile("f");`,
  "typescript.ts": `import { readFileSync } from "node:fs"; const path: string = "f"; readFileSync(path);`,
};

/** Node 20 does not run TypeScript. */
const imports = Object.entries(IMPORTS).filter(([main]) => NODE_MAJOR >= 22 || !main.endsWith(".ts"));

test.each(imports)("%s: the action is recorded, loading the module is not", async (main, source) => {
  await using app = await makeApp({ [main]: source, "work/f": "" });
  const run = await app.run();
  expect(run).toMatchObject({ code: 0, stdout: "" });
  expect(run.actions.map(summary)).toEqual([`file.read READ success file://${app.work}/f`]);
});

test("modules are loaded without records, what they read while they load is recorded", async () => {
  await using app = await makeApp({
    "main.mjs": `import "./a.mjs"; import "./b.cjs"; import data from "./d.json" with { type: "json" };
      import { createRequire } from "node:module"; createRequire(import.meta.url)("./e.mjs");
      await import("./f.mjs");`,
    "a.mjs": "",
    "b.cjs": `require("./c.cjs"); require("./d.json"); require("fs").readFileSync(__filename);`,
    "c.cjs": `const fs = require("fs"); fs.readFileSync(__dirname + "/work/x");`,
    "d.json": "{}",
    "e.mjs": `import fs from "node:fs"; fs.readFileSync(new URL(import.meta.url));`,
    "f.mjs": "",
    "work/x": "",
  });
  const run = await app.run();
  expect(run.code).toBe(0);
  expect(run.actions.map(summary)).toEqual([
    `file.read READ success file://${app.work}/x`,
    `file.read READ success file://${app.dir}/b.cjs`,
    `file.read READ success file://${app.dir}/e.mjs`,
  ]);
});

test("require of an ES module and of what it imports is loading, too", async () => {
  await using app = await makeApp({
    "main.cjs": `require("./a.mjs");`,
    "a.mjs": `import "./b.mjs"; import fs from "node:fs"; fs.readFileSync("f");`,
    "b.mjs": "",
    "work/f": "",
  });
  const run = await app.run();
  expect(run.code).toBe(0);
  expect(run.actions.map(summary)).toEqual([`file.read READ success file://${app.work}/f`]);
});

test("a secret is recorded even when it is read as a module", async () => {
  await using app = await makeApp({ "main.cjs": `require("./.env");`, ".env": "exports.token = 1" });
  const run = await app.run();
  expect(run.actions.map(summary)).toEqual([`file.read READ success file://${app.dir}/.env`]);
});

test("an application cannot tell the patched functions by their looks", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import util from "node:util";
      const look = (holder) => Object.fromEntries(Object.entries(Object.getOwnPropertyDescriptors(holder))
        .filter(([, d]) => typeof d.value === "function")
        .map(([key, d]) => [key, [d.value.name, d.value.length, d.enumerable, d.writable, d.configurable, Reflect.ownKeys(d.value).map(String).sort()]]));
      console.log(JSON.stringify([look(fs), look(fs.promises), typeof fs.realpath.native, typeof fs.exists[util.promisify.custom]]));`,
  });
  const bare = await app.run({ nodeArgs: [] });
  const audited = await app.run();
  expect(JSON.parse(audited.stdout)).toEqual(JSON.parse(bare.stdout));
});

test("the start line says agent, policy, mode, destination and what is covered", async () => {
  await using app = await makeApp({ "main.mjs": "" });
  const { stderr } = await app.run({ env: { OTEL_AUDIT_AGENT_ID: "agent:start" } });
  const [line = "", ...rest] = stderr.trim().split("\n");
  expect(rest).toEqual([]);
  expect(line).toMatch(
    /^otel-audit: agent agent:start; policy none; mode observe; to http:\/\/127\.0\.0\.1:\d+; covered: .*\bfs\b/,
  );
  expect(line).toMatch(/not covered: .*\bsqlite\b/);
});

test("process.start, policy.loaded and process.summary frame the records", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; fs.writeFileSync("f", ""); fs.existsSync("f"); fs.readFileSync("/dev/null");`,
    "policy.yaml": "policy: mine\nmode: observe\ndefault: allow\n",
  });
  const { control } = await app.run({
    env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml"), OTEL_AUDIT_AGENT_ID: "agent:a", OTEL_SERVICE_NAME: "shop" },
  });
  expect(control.map((span) => span.name)).toEqual(["process.start", "policy.loaded", "process.summary"]);
  const [start, loaded, end] = control;
  expect(start?.resource).toMatchObject({ "service.name": "shop" });
  expect(start?.attributes).toMatchObject({ "audit.on_behalf_of.id": "agent:a", "audit.on_behalf_of.type": "agent" });
  expect(start?.attributes?.["audit.instrumentation.covered"]).toContain("fs");
  expect(loaded?.attributes).toMatchObject({
    "audit.policy.document": "policy: mine\nmode: observe\ndefault: allow\n",
    "audit.policy.version": text(start ?? {}, "audit.policy.version"),
  });
  expect(text(start ?? {}, "audit.policy.version")).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(end?.attributes).toMatchObject({
    "audit.summary.recorded.file.write": 1,
    "audit.summary.ignored.device": 1,
    "audit.summary.ignored.exists": expect.any(Number),
    "audit.summary.lost": 0,
  });
});

test("OTEL_AUDIT_DISABLED: nothing is patched, nothing is sent, and it says so", async () => {
  await using app = await makeApp({ "main.mjs": `import fs from "node:fs"; fs.writeFileSync("f", "");` });
  const run = await app.run({ env: { OTEL_AUDIT_DISABLED: "true" } });
  expect(run).toMatchObject({ code: 0, actions: [], control: [] });
  expect(run.stderr).toContain("OTEL_AUDIT_DISABLED");
});

test("a configuration that is not understood stops the start and names itself", async () => {
  await using app = await makeApp({ "main.mjs": `console.log("ran")` });
  const run = await app.run({ env: { OTEL_AUDIT_MODE: "enforec" } });
  expect(run).toMatchObject({ code: 1, stdout: "" });
  expect(run.stderr).toContain('OTEL_AUDIT_MODE: must be one of observe, enforce, got "enforec"');
});

test.each([
  [undefined, "enforced", "denied"],
  ["enforce", "enforced", "denied"],
  ["observe", "observed", "done"],
])("a policy that cannot be loaded denies everything (mode %s: %s)", async (mode, enforcement, outcome) => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs";
      try { fs.writeFileSync("f", ""); console.log("done"); } catch (error) { console.log(error.rule === "policy_error" ? "denied" : error); }`,
    "policy.yaml": "policy: [broken",
  });
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml"), OTEL_AUDIT_MODE: mode } });
  expect(run.stdout.trim()).toBe(outcome);
  expect(run.stderr).toContain("the policy cannot be used");
  expect(run.actions.map((span) => span.attributes)).toEqual([
    expect.objectContaining({
      "audit.policy.decision": "deny",
      "audit.policy.enforcement": enforcement,
      "audit.policy.rule.id": "policy_error",
    }),
  ]);
  expect(run.control.find((span) => span.name === "policy.loaded")?.attributes).toMatchObject({
    "audit.outcome": "failure",
    "audit.policy.document": "policy: [broken",
  });
});

test.each([
  ["record", "done", 1],
  ["ignore", "done", 0],
  ["deny", "denied by unattributed", 1],
])("unattributed: %s", async (unattributed, outcome, records) => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { withAgent } from "$INDEX";
      try { fs.writeFileSync("f", ""); console.log("done"); } catch (error) { console.log("denied by " + error.rule); }
      withAgent({ id: "agent:known" }, () => fs.writeFileSync("g", ""));`,
  });
  const run = await app.run({ env: { OTEL_AUDIT_UNATTRIBUTED: unattributed } });
  expect(run.stdout.trim()).toBe(outcome);
  const unknown = run.actions.filter((span) => text(span, "audit.actor.id") === "");
  expect(unknown).toHaveLength(records);
  expect(run.actions.length - unknown.length).toBe(1);
  const ignored = run.control.at(-1)?.attributes?.["audit.summary.ignored.unattributed"];
  expect(typeof ignored).toBe(records === 0 ? "number" : "undefined");
});

test("a worker thread is audited too, in a spool folder of its own", async () => {
  await using app = await makeApp({
    "main.mjs": `import { Worker } from "node:worker_threads"; import fs from "node:fs";
      fs.writeFileSync("main", ""); new Worker(new URL("./worker.mjs", import.meta.url));`,
    "worker.mjs": `import fs from "node:fs"; fs.writeFileSync("worker", "");`,
  });
  const run = await app.run();
  const files = run.actions.map(summary).toSorted();
  expect(files).toEqual(["main", "worker"].map((name) => `file.write WRITE success file://${app.work}/${name}`));
  expect(run.stderr.trim().split("\n")).toHaveLength(1);
});

test("the package's name works as --import, and its withAgent is the same one under require", async () => {
  await using app = await makeApp({
    "main.cjs": `const { withAgent } = require("@otel-audit/instrumentation-node");
      withAgent({ id: "agent:cjs" }, () => require("fs").writeFileSync("f", ""));`,
  });
  const scope = join(app.dir, "node_modules", "@otel-audit");
  mkdirSync(scope, { recursive: true });
  symlinkSync(fileURLToPath(new URL("..", import.meta.url)), join(scope, "instrumentation-node"));
  const run = await app.run({ nodeArgs: ["--import", "@otel-audit/instrumentation-node/register"] });
  expect(run.actions.map((span) => text(span, "audit.actor.id"))).toEqual(["agent:cjs"]);
});

// Where nobody can guess that there is a pg, the parser is loaded together with it: a connection takes longer than that.
test("the parser of SQL is there for a statement in the tick in which pg is loaded", async () => {
  const pg = createRequire(import.meta.url).resolve("pg");
  await using app = await makeApp({
    "main.cjs": `const pg = require(${JSON.stringify(pg)});
      const client = new pg.Client({ host: "127.0.0.1", port: 1, database: "app" });
      client.on("error", () => {});
      client.connect().catch(() => {});
      client.query("SELECT a FROM orders").catch(() => {});`,
  });
  const run = await app.run();
  const records = run.actions.map(summary).filter((line) => line.startsWith("db."));
  expect(records).toEqual(["db.statement READ failure Error postgresql://127.0.0.1:1/app/public.orders"]);
});

test("two hundred agents at once, and threads, one of which exits in the middle: each action is its agent's", async () => {
  await using app = await makeApp({
    "main.mjs": `
      import { writeFile } from "node:fs/promises"; import { isMainThread, Worker, workerData } from "node:worker_threads";
      import { withAgent } from "$INDEX"; import { setTimeout as sleep } from "node:timers/promises";
      const act = (agents, times) => Promise.all(Array.from({ length: agents }, (_, n) => {
        const id = (isMainThread ? "main-" : "thread" + workerData + "-") + n;
        return withAgent({ id }, async () => {
          for (let i = 0; i < times; i++) { await writeFile(id + "." + i, ""); await sleep((n * i) % 3); }
        });
      }));
      if (isMainThread) {
        const threads = [1, 2].map((workerData) => new Promise((end) =>
          new Worker(new URL(import.meta.url), { workerData }).on("exit", end)));
        await act(200, 5);
        await Promise.all(threads);
      } else { await act(20, 5); if (workerData === 2) process.exit(0); }`,
    "next.mjs": ``,
  });
  await app.run();
  // What the thread that exited had not sent is left to the next process.
  const { actions } = await app.run({ main: "next.mjs" });
  const records = new Map(actions.map((span) => [text(span, "audit.record.id"), span]));
  expect(records.size).toBe(1200);
  for (const span of records.values()) {
    expect(text(span, "audit.target.id").replace(/^.*\/(.*)\.\d$/, "$1")).toBe(text(span, "audit.actor.id"));
  }
});
