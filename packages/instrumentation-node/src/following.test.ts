import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { type App, makeApp, REGISTER, type Run, summary, text } from "./testing/run-app.ts";

/** A child that leaves one record, and says what else it was given. */
const CHILD = `
  require("node:fs").writeFileSync("child.txt", "x");
  process.send?.("sent");
`;

const PARENT = `
  import cp from "node:child_process";
  import cluster from "node:cluster";
  import { withAgent } from "$INDEX";
  const child = "$DIR/child.cjs";
  const node = JSON.stringify(process.execPath);
  const ended = (one) => new Promise((resolve) => one.on("close", resolve).on("error", resolve));
  const starts = {
    spawn: () => ended(cp.spawn(process.execPath, [child])),
    "spawn, bare environment": () => ended(cp.spawn(process.execPath, [child], { env: {} })),
    "spawn, without NODE_OPTIONS": () => ended(cp.spawn(process.execPath, [child], { env: { ...process.env, NODE_OPTIONS: "" } })),
    fork: () => ended(cp.fork(child)),
    "fork, without flags": () => ended(cp.fork(child, { execArgv: [] })),
    "exec": () => new Promise((resolve) => cp.exec(node + " " + JSON.stringify(child), resolve)),
    "spawnSync": () => cp.spawnSync(process.execPath, [child]),
    "execFileSync, bare environment": () => cp.execFileSync(process.execPath, [child], { env: {} }),
    "execSync": () => cp.execSync(node + " " + JSON.stringify(child)),
    cluster: () => {
      cluster.setupPrimary({ exec: child });
      const worker = cluster.fork();
      worker.on("message", () => worker.disconnect());
      return new Promise((resolve) => worker.on("exit", resolve));
    },
    "a script": () => ended(cp.spawn("$DIR/script")),
  };
  for (const [name, start] of Object.entries(starts)) {
    await withAgent({ id: "agent:planner" }, () =>
      withAgent({ id: "agent:" + name, onBehalfOf: "user:4711", workflow: { name: "w", id: "w-1" }, conversation: "c" }, start));
  }
`;

async function family(parent: string): Promise<App> {
  const app = await makeApp({ "parent.mjs": parent, "child.cjs": CHILD });
  writeFileSync(join(app.dir, "script"), `#!/usr/bin/env node\n${CHILD}`, { mode: 0o755 });
  return app;
}

const NAMES = [...PARENT.matchAll(/^ {4}"?([a-zA-Z][^":]*)"?: \(\) =>/gm)].map((match) => match[1] ?? "");

function writes(run: Run, agent: string): string[] {
  const own = run.actions.filter((span) => text(span, "audit.actor.id") === agent);
  return own.filter((span) => text(span, "audit.event.name").startsWith("file.")).map(summary);
}

test.each([
  ["a flag", { nodeArgs: ["--import", REGISTER] }],
  ["NODE_OPTIONS", { nodeArgs: [], env: { NODE_OPTIONS: `--import=${REGISTER}` } }],
])("the audit that came by %s follows into Node, with who started it and why", async (_, options) => {
  await using app = await family(PARENT);
  const run = await app.run(options);
  expect(NAMES).toHaveLength(11);
  for (const name of NAMES) {
    const agent = `agent:${name}`;
    const own = run.actions.filter((span) => text(span, "audit.actor.id") === agent);
    const [exec, file, ...more] = own.toSorted((a, b) =>
      text(b, "audit.event.name").localeCompare(text(a, "audit.event.name")),
    );
    expect([name, exec && summary(exec), file && summary(file), more.length]).toEqual([
      name,
      expect.stringMatching(/^process\.exec EXECUTE success process:\//),
      `file.write WRITE success file://${app.work}/child.txt`,
      0,
    ]);
    expect(exec?.attributes).toMatchObject({ "audit.process.followed": !name.startsWith("exec") || /File/.test(name) });
    expect(file?.attributes).toMatchObject({
      "audit.actor.chain": ["agent:planner"],
      "audit.on_behalf_of.id": "user:4711",
      "gen_ai.workflow.name": "w",
      "audit.workflow.id": "w-1",
      "gen_ai.conversation.id": "c",
      "audit.cause.record.id": text(exec ?? {}, "audit.record.id"),
    });
    expect(writes(run, agent)).toHaveLength(1);
  }
  // The start line would stand in the output of the child, which is the parent's to read.
  expect(run.stderr.match(/^otel-audit: agent /gm)).toHaveLength(1);
  expect(run.control.filter((span) => text(span, "audit.event.name") === "audit.bypass")).toEqual([]);
});

test("a child with an identity of its own keeps it, under the one who started it", async () => {
  await using app = await family(`
    import cp from "node:child_process";
    import { withAgent } from "$INDEX";
    withAgent({ id: "agent:planner" }, () =>
      cp.spawnSync(process.execPath, ["$DIR/child.cjs"], { env: { ...process.env, OTEL_AUDIT_AGENT_ID: "agent:own" } }));
  `);
  const run = await app.run({ env: { OTEL_AUDIT_AGENT_ID: "agent:outer", OTEL_AUDIT_AGENT_NAME: "Outer" } });
  const file = run.actions.find((span) => text(span, "audit.event.name") === "file.write");
  expect(file?.attributes).toMatchObject({
    "audit.actor.id": "agent:own",
    "audit.actor.chain": ["agent:outer", "agent:planner"],
  });
});

test("who was only claimed to have led here is so in children and threads", async () => {
  await using app = await family(`
    import cp from "node:child_process";
    import { Worker } from "node:worker_threads";
    import { withAgent } from "$INDEX";
    cp.spawnSync(process.execPath, ["$DIR/child.cjs"]);
    withAgent({ id: "agent:sub" }, () => new Worker("$DIR/child.cjs"));
  `);
  const run = await app.run({
    env: {
      OTEL_AUDIT_AGENT_ID: "agent:own",
      OTEL_AUDIT_AGENT_CHAIN: "agent:planner",
      OTEL_AUDIT_AGENT_CLAIMED: "agent:planner,agent:no-part-of-it",
    },
  });
  const files = run.actions.filter((span) => text(span, "audit.event.name") === "file.write");
  const who = files.map(({ attributes }) => [attributes?.["audit.actor.id"], attributes?.["audit.actor.claimed"]]);
  expect(who).toEqual([
    ["agent:own", ["agent:planner"]],
    ["agent:sub", ["agent:planner"]],
  ]);
});

test("nothing of one identity is left over for another one", async () => {
  await using app = await family(`
    import cp from "node:child_process";
    import { withAgent } from "$INDEX";
    withAgent({ id: "agent:inner" }, () => cp.spawnSync(process.execPath, ["$DIR/child.cjs"]));
  `);
  const env = { OTEL_AUDIT_AGENT_ID: "agent:outer", OTEL_AUDIT_AGENT_NAME: "Outer", OTEL_AUDIT_CREDENTIAL: "key:1" };
  const run = await app.run({ env });
  const file = run.actions.find((span) => text(span, "audit.event.name") === "file.write");
  expect(file?.attributes).toMatchObject({ "audit.actor.id": "agent:inner", "audit.actor.chain": ["agent:outer"] });
  expect(Object.keys(file?.attributes ?? {})).not.toContain("gen_ai.agent.name");
  expect(Object.keys(file?.attributes ?? {})).not.toContain("audit.actor.credential.id");
});

test("a child that is not to be audited, or by other rules, is recorded, and a rule can stop it", async () => {
  await using app = await makeApp({
    "parent.mjs": `
      import cp from "node:child_process";
      for (const name of ["DISABLED", "DISABLED", "MODE"]) {
        const env = { ...process.env, ["OTEL_AUDIT_" + name]: name === "MODE" ? "observe" : "1" };
        console.log(cp.spawnSync(process.execPath, ["$DIR/child.cjs"], { env }).error?.code);
      }
    `,
    "child.cjs": CHILD,
    "policy.yaml": `
policy: p
mode: enforce
default: allow
rules:
  - { id: nobody-hides, deny: { event: audit.bypass } }
`,
  });
  const observed = await app.run();
  expect(observed.stdout).toBe("undefined\n".repeat(3));
  const details = observed.actions
    .filter((span) => text(span, "audit.event.name") === "audit.bypass")
    .map((span) =>
      [text(span, "audit.bypass.kind"), text(span, "audit.bypass.detail")].join(" ").replace(/\/\S+\//, ""),
    );
  expect(details).toEqual([
    "child_unaudited node with OTEL_AUDIT_DISABLED",
    "child_unaudited node with OTEL_AUDIT_MODE",
  ]);
  const followed = observed.actions.filter((span) => text(span, "audit.event.name") === "process.exec");
  expect(followed.map((span) => span.attributes?.["audit.process.followed"])).toEqual([false, false, true]);
  const before = observed.actions.length;
  const enforced = await app.run({ env: { OTEL_AUDIT_POLICY: `${app.dir}/policy.yaml` } });
  expect(enforced.stdout).toBe("EAUDITDENIED\n".repeat(3));
  expect(
    enforced.actions
      .slice(before)
      .map(summary)
      .filter((line) => line.startsWith("file.")),
  ).toEqual([]);
});
