import { existsSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { property } from "../../unknown.ts";
import { type App, makeApp, NODE_MAJOR, type Run, text } from "../../testing/run-app.ts";

const POLICY = `
policy: test
mode: enforce
default: allow
resources:
  secret: { file: "$WORK/secret/**" }
  watched: { file: "$WORK/watched.txt" }
rules:
  - { id: no-secret, deny: { resource: secret } }
  - { id: ask-first, review: { resource: watched } }
`;

/** Each is denied and says so through its own channel; the value is how the caller heard of it. */
const CHANNELS: Readonly<Record<string, string>> = {
  sync: `try { fs.writeFileSync("secret/f", "x"); } catch (error) { heard("thrown", error); }`,
  callback: `fs.writeFile("secret/f", "x", (error) => heard(sync ? "called back too early" : "called back", error));`,
  promise: `const promise = fsp.writeFile("secret/f", "x"); sync = "no"; await promise.catch((error) => heard("rejected", error));`,
  open: `await fsp.open("secret/f", "w").catch((error) => heard("rejected", error));`,
  "read stream": `fs.createReadStream("secret/f").on("error", (error) => heard("error event", error));`,
  "write stream": `fs.createWriteStream("secret/f").on("error", (error) => heard("error event", error));`,
  iterator: `try { for await (const file of fsp.glob("secret/*")) heard("got " + file, {}); } catch (error) { heard("rejected", error); }`,
  "promisified callback": `await util.promisify(fs.writeFile)("secret/f", "x").catch((error) => heard("rejected", error));`,
  "one side of a rename": `try { fs.renameSync("mine", "secret/f"); } catch (error) { heard("thrown", error); }`,
  review: `try { fs.writeFileSync("watched.txt", "x"); } catch (error) { heard("thrown", error); }`,
};

const APP = `
import fs from "node:fs";
import fsp from "node:fs/promises";
import util from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { withAgent, AuditPolicyDeniedError } from "$INDEX";
fs.writeFileSync("mine", "x");
const all = {};
const channels = { $CHANNELS };
for (const [name, run] of Object.entries(channels)) {
  await withAgent({ id: name }, () => run((how, error) => {
    all[name] = { how, isOurs: error instanceof AuditPolicyDeniedError, code: error.code, rule: error.rule, reason: error.reason, recordId: error.recordId };
  }));
  await sleep(30);
}
console.log(JSON.stringify(all));
`;

let app: App;
let run: Run;
let heard: unknown;

beforeAll(async () => {
  const channels = Object.entries(CHANNELS).map(
    ([name, source]) =>
      `"${name}": async (heard) => { let sync = true; setImmediate(() => {}); queueMicrotask(() => { sync = false; }); ${source} }`,
  );
  app = await makeApp({ "main.mjs": APP.replace("$CHANNELS", () => channels.join(",\n")), "policy.yaml": POLICY });
  run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
  heard = JSON.parse(run.stdout);
});

afterAll(() => app[Symbol.asyncDispose]());

test.each<readonly [string, string]>([
  ["sync", "thrown"],
  ["callback", "called back"],
  ["promise", "rejected"],
  ["open", "rejected"],
  ["read stream", "error event"],
  ["write stream", "error event"],
  ...(NODE_MAJOR >= 22 ? [["iterator", "rejected"] as const] : []),
  ["promisified callback", "rejected"],
  ["one side of a rename", "thrown"],
])("%s: %s", (name, how) => {
  expect(property(heard, name)).toMatchObject({ how, isOurs: true, code: "EAUDITDENIED", rule: "no-secret" });
  const records = run.actions.filter((span) => text(span, "audit.actor.id") === name);
  expect(records).toHaveLength(1);
  expect(records[0]?.attributes).toMatchObject({
    "audit.outcome": "failure",
    "error.type": "policy_denied",
    "audit.policy.decision": "deny",
    "audit.policy.enforcement": "enforced",
    "audit.policy.id": "test",
    "audit.policy.rule.id": "no-secret",
    "audit.policy.reason": property(property(heard, name), "reason"),
    "audit.record.id": property(property(heard, name), "recordId"),
  });
});

test("in enforce mode a review stops the action too", () => {
  expect(property(heard, "review")).toMatchObject({ how: "thrown", rule: "ask-first" });
  const record = run.actions.find((span) => text(span, "audit.actor.id") === "review");
  expect(record?.attributes).toMatchObject({ "audit.policy.decision": "review", "error.type": "policy_denied" });
});

test("nothing of what was denied happened", () => {
  expect(existsSync(join(app.work, "secret"))).toBe(false);
  expect(existsSync(join(app.work, "mine"))).toBe(true);
  expect(existsSync(join(app.work, "watched.txt"))).toBe(false);
});
