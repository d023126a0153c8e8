import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, expect, test } from "vitest";

import { type ApiAnswer, type ApiRequest, type SinkSpan, startHttpApi } from "../../../test/support/index.ts";
import { type App, makeApp, summary, text } from "./testing/run-app.ts";

let answer: (request: ApiRequest) => ApiAnswer | Promise<ApiAnswer> = () => ({});
const api = await startHttpApi({
  routes: { "POST /approve": (request) => answer(request), "GET /allowed": { body: "yes" }, "GET /secret": {} },
});
afterAll(() => api.close());

const POLICY = `policy: p
mode: enforce
default: allow
resources:
  guarded: { file: "**/guarded*" }
  secret: { http: "http://127.0.0.1:${api.port}/secret" }
rules:
  - { id: ask, reason: a person decides, review: { resource: [guarded, secret] } }
`;

/** The records of a review, in the order in which they were made, as `event outcome actor`. */
function minutes(spans: readonly SinkSpan[]): string[] {
  return spans
    .filter((span) => text(span, "audit.event.name").startsWith("review."))
    .map((span) =>
      ["audit.event.name", "audit.review.decision", "audit.outcome", "error.type", "audit.actor.id"]
        .map((key) => text(span, key))
        .filter((value) => value !== "")
        .join(" "),
    );
}

const DENIED = `const told = (error) => error.code === "EAUDITDENIED" ? error.rule + ": " + error.reason : String(error);`;

test("an endpoint is asked, nothing leaves before it answers, and who answered is on record", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { readFile, writeFile } from "node:fs/promises";
      import { withAgent } from "$INDEX";
      ${DENIED}
      const say = (name) => (value) => console.log(name, String(value));
      await withAgent({ id: "agent:a", onBehalfOf: "user:7", workflow: { name: "w", id: "w-1" } }, async () => {
        await writeFile("guarded-1", "x").then(say("wrote"), (error) => console.log("write", told(error)));
        await readFile("guarded-1", "utf8").then(say("read"), (error) => console.log("read", told(error)));
        await fetch("http://127.0.0.1:${api.port}/secret").then((r) => console.log("fetch", r.status), (error) => console.log("fetch", told(error.cause ?? error)));
      });`,
  });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  const asked: Record<string, unknown>[] = [];
  answer = ({ body }) => {
    const request: Record<string, unknown> = JSON.parse(body);
    asked.push(request);
    // The action has not run, and is not running.
    const reached = api.requests.some(({ path }) => path === "/secret") || existsSync(join(app.work, "guarded-1"));
    if (request["event"] === "file.read") return { body: { decision: "deny", by: "alice", reason: "not today" } };
    return { body: { decision: reached && asked.length === 1 ? "deny" : "allow", by: "user:bob" }, delayMs: 20 };
  };
  const run = await app.run({
    env: {
      OTEL_AUDIT_POLICY: join(app.work, "policy.yaml"),
      OTEL_AUDIT_APPROVER: `${api.url}/approve`,
      OTEL_AUDIT_APPROVER_HEADERS: "authorization=Bearer%20t",
    },
  });
  expect(run.stdout).toBe("wrote undefined\nread ask: a person decides (denied by alice: not today)\nfetch 200\n");
  expect(asked).toHaveLength(3);
  expect(asked[0]).toMatchObject({
    event: "file.write",
    actor: { id: "agent:a", type: "agent" },
    onBehalfOf: { id: "user:7", type: "user" },
    workflow: { name: "w", id: "w-1" },
    policy: { id: "p" },
    rule: "ask",
    reason: "a person decides",
  });
  expect(api.requests.find(({ path }) => path === "/approve")?.headers["authorization"]).toBe("Bearer t");
  const all = [...run.actions, ...run.control];
  expect(minutes(all).toSorted()).toEqual([
    "review.decided approved success user:bob",
    "review.decided approved success user:bob",
    "review.decided rejected success alice",
    "review.requested success agent:a",
    "review.requested success agent:a",
    "review.requested success agent:a",
  ]);
  // One record of each action, none of our question; each names its review and is named by it.
  const actions = run.actions.filter((span) => !text(span, "audit.event.name").startsWith("review."));
  expect(actions.map((span) => `${text(span, "audit.event.name")} ${text(span, "audit.outcome")}`)).toEqual([
    "file.write success",
    "file.read failure",
    "http.request success",
  ]);
  for (const action of actions) {
    expect(text(action, "audit.policy.decision")).toBe("review");
    expect(text(action, "audit.policy.enforcement")).toBe("enforced");
    const about = all.filter((span) => text(span, "audit.cause.record.id") === text(action, "audit.record.id"));
    expect(about.map((span) => text(span, "audit.event.name"))).toEqual(["review.requested", "review.decided"]);
    for (const span of about) expect(text(span, "audit.review.id")).toBe(text(action, "audit.review.id"));
  }
});

test("where nobody can be asked, or a call cannot wait, a review is a deny", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { writeFileSync, writeFile } from "node:fs";
      import { writeFile as write } from "node:fs/promises";
      import { setApprover } from "$INDEX";
      ${DENIED}
      await write("guarded", "x").catch((error) => console.log(told(error)));
      setApprover(() => ({ decision: "allow", by: "user:a" }));
      setApprover(() => ({ decision: "deny", by: "user:b" }));
      try { writeFileSync("guarded", "x"); } catch (error) { console.log(told(error)); }
      await write("guarded", "x").then(() => console.log("ok"));
      writeFile("guarded", "x", (error) => console.log("callback", error));`,
  });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.work, "policy.yaml") } });
  expect(run.stdout).toBe(
    "ask: a person decides (not reviewed: no approver is configured)\n" +
      "ask: a person decides (not reviewed: a synchronous call cannot wait)\nok\ncallback null\n",
  );
  expect(run.control.map((span) => text(span, "audit.bypass.kind"))).toContain("approver_replaced");
});

test("what the function does itself is judged as its own and cannot ask in turn", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { readFile, writeFile } from "node:fs/promises";
      import { AuditInstrumentation, withAgent } from "$INDEX";
      ${DENIED}
      new AuditInstrumentation({ approver: async (request) => {
        await readFile("rules.txt");
        await withAgent({ id: "agent:b" }, () => writeFile("guarded-2", "x")).catch((error) => console.log(told(error)));
        return { decision: "allow", by: "user:a" };
      } });
      await withAgent({ id: "agent:a" }, () => writeFile("guarded-1", "x"));`,
  });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  writeFileSync(join(app.work, "rules.txt"), "");
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.work, "policy.yaml") } });
  expect(run.stdout).toBe("ask: a person decides (not reviewed: it is an action of the approver itself)\n");
  const own = run.actions.find((span) => text(span, "audit.target.id").endsWith("/rules.txt"));
  const reviewed = run.actions.find((span) => text(span, "audit.target.id").endsWith("/guarded-1"));
  expect(own && text(own, "audit.actor.id")).toBe("system:approver");
  expect(own && text(own, "audit.cause.record.id")).toBe(reviewed && text(reviewed, "audit.record.id"));
});

test("a process that is killed while an action waits leaves the action as unknown and the question", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { writeFile } from "node:fs/promises";
      await writeFile("guarded", "x");`,
    "next.mjs": "",
  });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  const asked = Promise.withResolvers<void>();
  const never = Promise.withResolvers<ApiAnswer>();
  answer = () => {
    asked.resolve();
    return never.promise;
  };
  const env = { OTEL_AUDIT_POLICY: join(app.work, "policy.yaml"), OTEL_AUDIT_APPROVER: `${api.url}/approve` };
  {
    await using waiting = await app.start({ env });
    await asked.promise;
    process.kill(waiting.pid, "SIGKILL");
    await waiting.exited;
  }
  never.resolve({});
  expect(existsSync(join(app.work, "guarded"))).toBe(false);
  const run = await app.run({ main: "next.mjs" });
  const all = [...run.actions, ...run.control];
  const action = all.find((span) => text(span, "audit.target.id").endsWith("/guarded"));
  expect(action && summary(action)).toContain("file.write WRITE unknown");
  expect(minutes(all)).toEqual(["review.requested success system:otel-audit"]);
});

test("the process waits for an answer as long as it takes, and denies when there is none in time", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { writeFile } from "node:fs/promises";
      ${DENIED}
      await writeFile("guarded", "x").catch((error) => console.log(told(error)));`,
  });
  writeFileSync(join(app.work, "policy.yaml"), POLICY);
  const never = Promise.withResolvers<ApiAnswer>();
  answer = () => never.promise;
  const run = await app.run({
    env: {
      OTEL_AUDIT_POLICY: join(app.work, "policy.yaml"),
      OTEL_AUDIT_APPROVER: `${api.url}/approve`,
      OTEL_AUDIT_APPROVER_TIMEOUT: "300",
    },
  });
  never.resolve({});
  expect(run.stdout).toBe("ask: a person decides (denied by nobody: no answer within 300 ms)\n");
  expect(minutes([...run.actions, ...run.control]).toSorted()).toEqual([
    "review.decided expired failure timeout system:otel-audit",
    "review.requested success system:otel-audit",
  ]);
});

test("a changed policy is in force in every thread, a broken one is not, and all of it is on record", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import { Worker } from "node:worker_threads";
      import "./try.mjs";
      new Worker(new URL("try.mjs", import.meta.url));
      process.stdin.on("data", () => process.exit(0));`,
    "next.mjs": "",
    "try.mjs": `
      import { writeFile } from "node:fs/promises";
      import { isMainThread } from "node:worker_threads";
      let last = "";
      setInterval(async () => {
        const now = await writeFile("guarded", "x").then(() => "runs", (error) => error.code);
        if (now !== last) console.log(isMainThread ? "main" : "worker", now);
        last = now;
      }, 50);`,
  });
  const file = join(app.work, "policy.yaml");
  const deny = POLICY.replace("review:", "deny:").replace("policy: p", "policy: strict");
  writeFileSync(file, "policy: open\nmode: enforce\ndefault: allow\n");
  await using child = await app.start({ env: { OTEL_AUDIT_POLICY: file } });
  const both = (state: string): Promise<unknown> =>
    Promise.all([child.waitForLine(`main ${state}`), child.waitForLine(`worker ${state}`)]);
  await both("runs");
  writeFileSync(file, deny);
  await both("EAUDITDENIED");
  writeFileSync(file, "policy: [");
  await child.waitForLine("strict stays in force");
  writeFileSync(file, "policy: again\nmode: enforce\ndefault: allow\n");
  await child.waitForLine("the policy was changed: again");
  child.stdin.write("end\n");
  await child.exited;
  // The lines of threads come in any order; each thread says it once a state.
  const loaded = await policiesLoaded(app);
  for (const state of ["open success", "strict success", "strict failure policy_error", "again success"]) {
    expect(loaded).toContain(state);
  }
  expect(loaded.filter((line) => line === "strict success")).toHaveLength(2);
});

/** `policy outcome` of every policy.loaded record, after another process has sent what is left. */
async function policiesLoaded(app: App): Promise<string[]> {
  const run = await app.run({ main: "next.mjs" });
  return run.control
    .filter((span) => text(span, "audit.event.name") === "policy.loaded")
    .map((span) =>
      ["audit.policy.id", "audit.outcome", "error.type"]
        .map((key) => text(span, key))
        .join(" ")
        .trim(),
    );
}

test("the audit's own files are out of reach in both modes, with an alarm that names the record", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import * as fs from "node:fs";
      import { copyFile, readFile, rename, rm } from "node:fs/promises";
      import { withAgent } from "$INDEX";
      ${DENIED}
      const policy = process.env.OTEL_AUDIT_POLICY;
      const spool = process.env.OTEL_AUDIT_SPOOL_DIR;
      const tell = (name) => [() => console.log(name, "ran"), (error) => console.log(name, told(error).split(":")[0])];
      await withAgent({ id: "agent:a" }, async () => {
        try { fs.writeFileSync(policy, "policy: mine"); } catch (error) { console.log("write", told(error).split(":")[0]); }
        try { fs.appendFileSync("link.yaml", "x"); } catch (error) { console.log("link", told(error).split(":")[0]); }
        await rm(spool, { recursive: true }).then(...tell("rm"));
        await rename("../conf", "../conf2").then(...tell("rename"));
        await copyFile("other.yaml", policy).then(...tell("copy"));
        await readFile(policy).then(...tell("read"));
      });`,
  });
  const conf = join(app.dir, "conf");
  mkdirSync(conf);
  const file = join(conf, "policy.yaml");
  writeFileSync(file, "policy: p\nmode: observe\ndefault: allow\n");
  writeFileSync(join(app.work, "other.yaml"), "policy: q\nmode: observe\ndefault: allow\n");
  symlinkSync(file, join(app.work, "link.yaml"));
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: file } });
  expect(run.stdout.split("\n").filter(Boolean)).toEqual([
    "write own_files",
    "link own_files",
    "rm own_files",
    "rename own_files",
    "copy own_files",
    "read ran",
  ]);
  expect(readFileSync(file, "utf8")).toContain("policy: p");
  expect(run.stderr.match(/ALARM/g)).toHaveLength(1);
  const denied = run.actions.filter((span) => text(span, "audit.policy.rule.id") === "own_files");
  expect(denied).toHaveLength(5);
  const alarms = run.control.filter((span) => text(span, "audit.bypass.kind") === "own_files");
  expect(alarms.map((span) => text(span, "audit.cause.record.id"))).toEqual(
    denied.map((span) => text(span, "audit.record.id")),
  );
  expect(run.actions.map((span) => text(span, "audit.event.name"))).toContain("file.read");
});
