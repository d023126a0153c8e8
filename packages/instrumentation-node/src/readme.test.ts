import { readFileSync } from "node:fs";

import { expect, test } from "vitest";

import { type App, makeApp, text } from "./testing/run-app.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const examples = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, source = ""]) => source);

/** The example that has this text in it, and what runs it. */
function appOf(words: string, more: Readonly<Record<string, string>> = {}): Promise<App> {
  const source = examples.find((example) => example.includes(words)) ?? "";
  const main = source.replace("@otel-audit/instrumentation-node", "$INDEX");
  return makeApp({ "main.mjs": main, "work/package.json": "{}", ...more });
}

test("every example is run here", () => expect(examples).toHaveLength(4));

test("withAgent: the action is the agent's", async () => {
  await using app = await appOf('agent:refunds", onBehalfOf');
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

test("withToolCall: the action is the tool's", async () => {
  await using app = await appOf("withToolCall");
  const { actions } = await app.run();
  expect(actions.map((span) => text(span, "audit.target.id"))).toEqual([
    `file://${app.work}/package.json`,
    "tool:lookup_order",
  ]);
  expect(actions[0]?.attributes).toMatchObject({
    "gen_ai.tool.name": "lookup_order",
    "gen_ai.tool.call.id": "call_1",
    "audit.cause.record.id": actions[1]?.attributes?.["audit.record.id"],
  });
});

test("withFlush: the records have arrived when the handler answers", async () => {
  const lambda = `import { handler } from "./main.mjs";
    const answer = await handler({ id: 1 });
    console.log(JSON.stringify(answer));
    process.kill(process.pid, "SIGKILL");`;
  await using app = await appOf("withFlush", { "lambda.mjs": lambda });
  const run = await app.run({ main: "lambda.mjs" });
  expect(run).toMatchObject({ code: null, stdout: '{"statusCode":200}\n' });
  expect(run.actions.map((span) => text(span, "audit.target.id"))).toEqual([`file://${app.work}/order.json`]);
});

const REVIEWED = `
policy: readme
mode: enforce
default: allow
resources:
  orders: { file: "**/orders" }
rules:
  - { id: a-person-looks, review: { resource: orders } }
`;

test("setApprover: the function decides", async () => {
  const reader = `import "./main.mjs"; import { readFile } from "node:fs/promises"; import { withAgent } from "$INDEX";
    await withAgent({ id: "agent:a" }, () => readFile("orders")).catch((error) => console.log(error.code));`;
  await using app = await appOf("setApprover", { "reader.mjs": reader, "policy.yaml": REVIEWED, "work/orders": "" });
  const run = await app.run({ main: "reader.mjs", env: { OTEL_AUDIT_POLICY: `${app.dir}/policy.yaml` } });
  expect(run.stdout).toBe(`agent:a wants file.read file://${app.work}/orders\nEAUDITDENIED\n`);
});
