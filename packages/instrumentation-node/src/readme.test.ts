import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { makeApp } from "./testing/run-app.ts";

test("the README's example does what it says", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const example = /```js\n([^]*?)```/.exec(readme)?.[1] ?? "";
  await using app = await makeApp({
    "main.mjs": example.replace("@otel-audit/instrumentation-node", "$INDEX"),
    "work/package.json": "{}",
  });
  const run = await app.run();
  expect(run.actions).toHaveLength(1);
  expect(run.actions[0]?.attributes).toMatchObject({
    "audit.actor.id": "agent:refunds",
    "audit.on_behalf_of.id": "user:4711",
    "gen_ai.workflow.name": "refund",
    "audit.workflow.id": "wf-881",
    "audit.target.id": `file://${app.work}/package.json`,
  });
});
