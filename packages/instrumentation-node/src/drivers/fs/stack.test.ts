import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { makeApp, text } from "../../testing/run-app.ts";

const POLICY = `
policy: test
mode: enforce
default: allow
resources:
  secret: { file: "$WORK/secret/**" }
rules:
  - { id: no-secret, deny: { resource: secret } }
`;

/** Calls made where the stack is all but used up, each a frame further from its end than the one before. */
const APP = `
import fs from "node:fs";
import { withAgent } from "$INDEX";
for (const event of ["unhandledRejection", "uncaughtException"]) process.on(event, () => {});
fs.writeFileSync("mine", "x");
const WAYS = [
  (n) => fs.writeFileSync("secret/plain" + n, "x"),
  (n) => fs.writeFileSync("link/linked" + n, "x"),
  (n) => fs.copyFileSync("mine", "link/copied" + n),
  (n) => fs.appendFile("secret/called-back" + n, "x", () => {}),
  (n) => fs.promises.writeFile("link/promised" + n, "x").catch(() => {}),
  (n) => fs.createWriteStream("secret/streamed" + n).on("error", () => {}),
];
const heard = {};
for (const way of WAYS) {
  let n = 0;
  const dive = () => {
    try { dive(); } catch {}
    if (n++ >= 2000 || n % 4 > 0) return;
    try { way(n); heard.returned = (heard.returned ?? 0) + 1; } catch (error) { heard[error.code ?? error.name] = (heard[error.code ?? error.name] ?? 0) + 1; }
  };
  withAgent({ id: "agent:deep" }, dive);
}
console.log(JSON.stringify(heard));
`;

test("what is denied does not run where the stack is used up either", async () => {
  await using app = await makeApp({ "deep.mjs": APP, "policy.yaml": POLICY });
  mkdirSync(join(app.work, "secret"));
  symlinkSync("secret", join(app.work, "link"));
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
  expect([run.code, run.stdout]).toEqual([0, expect.stringMatching(/"RangeError":[1-9].*"EAUDITDENIED":[1-9]/)]);
  expect(readdirSync(join(app.work, "secret"))).toEqual([]);
  const denied = run.actions.filter((span) => text(span, "audit.policy.rule.id") === "no-secret");
  expect(denied.length).toBeGreaterThan(0);
});

const FALSIFIED = `
import fs from "node:fs";
import { withAgent } from "$INDEX";
const { then } = Promise.prototype;
globalThis.Promise = class extends Promise {};
globalThis.RangeError = class extends Error {};
await withAgent({ id: "agent:liar" }, () => then.call(fs.promises.readFile("missing"), () => {}, () => {}));
`;

test("a failure is recorded as one whatever the application made of promises", async () => {
  await using app = await makeApp({ "falsified.mjs": FALSIFIED });
  const run = await app.run();
  expect(run.code).toBe(0);
  const read = run.actions.find((span) => text(span, "audit.actor.id") === "agent:liar");
  expect([read && text(read, "audit.outcome"), read && text(read, "error.type")]).toEqual(["failure", "ENOENT"]);
});
