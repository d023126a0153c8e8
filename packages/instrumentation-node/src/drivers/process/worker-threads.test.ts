import { expect, test } from "vitest";

import { makeApp, REGISTER, summary, text } from "../../testing/run-app.ts";

/** Writes a file named after the thread; `@` stands for its name. */
const CODE = `require("node:fs").writeFileSync("@.txt", "x");`;

/** Every way to start a thread, as source text. */
const THREADS: Readonly<Record<string, string>> = {
  file: `new Worker("$DIR/thread.cjs", { workerData: "file" })`,
  module: `new Worker(new URL("file://$DIR/thread.mjs"), { workerData: "module" })`,
  text: `new Worker(code("text"), { eval: true })`,
  "data-url": `new Worker(new URL("data:text/javascript," + encodeURIComponent("import { writeFileSync } from 'node:fs'; writeFileSync('data-url.txt', 'x');")))`,
  "no-flags": `new Worker("$DIR/thread.cjs", { workerData: "no-flags", execArgv: [] })`,
  "text-no-flags": `new Worker(code("text-no-flags"), { eval: true, execArgv: [] })`,
  "bare-environment": `new Worker("$DIR/thread.cjs", { workerData: "bare-environment", env: {} })`,
  "shared-environment": `new Worker("$DIR/thread.cjs", { workerData: "shared-environment", env: SHARE_ENV })`,
  "switched-off": `new Worker("$DIR/thread.cjs", { workerData: "switched-off", env: { OTEL_AUDIT_DISABLED: "1" } })`,
  "in-a-thread": `new Worker("$DIR/outer.cjs")`,
  subclass: `new (class extends workerThreads.Worker {})("$DIR/thread.cjs", { workerData: "subclass" })`,
};

const FILES = {
  "main.mjs": `
    import workerThreads, { SHARE_ENV, Worker } from "node:worker_threads";
    import { withAgent } from "$INDEX";
    const code = (name) => ${JSON.stringify(CODE)}.replace("@", name);
    const threads = { ${Object.entries(THREADS)
      .map(([name, start]) => `${JSON.stringify(name)}: () => ${start}`)
      .join(",\n")} };
    const out = [];
    await Promise.all(Object.entries(threads).map(([name, start]) =>
      withAgent({ id: "agent:" + name, workflow: "w" }, () => new Promise((resolve) => {
        const thread = start();
        if (!(thread instanceof Worker) || thread.constructor.name === "Object") out.push("class of " + name);
        thread.on("error", (error) => out.push(name + ": " + error)).on("exit", resolve);
      }))));
    process.stdout.write(out.join("\\n"));
  `,
  "thread.cjs": `require("node:fs").writeFileSync(require("node:worker_threads").workerData + ".txt", "x");`,
  "thread.mjs": `
    import { writeFileSync } from "node:fs";
    import { workerData } from "node:worker_threads";
    writeFileSync(workerData + ".txt", "x");
  `,
  "outer.cjs": `new (require("node:worker_threads").Worker)("$DIR/thread.cjs", { workerData: "in-a-thread", env: {} });`,
};

test.each([
  ["a flag", { nodeArgs: ["--import", REGISTER] }],
  ["a flag among flags that no thread takes", { nodeArgs: ["--expose-gc", "--title=t", "--import", REGISTER] }],
  ["NODE_OPTIONS", { nodeArgs: [], env: { NODE_OPTIONS: `--import=${REGISTER}` } }],
])("the audit that came by %s follows into threads, as who started them", async (_, options) => {
  await using app = await makeApp(FILES);
  const run = await app.run(options);
  expect([run.stdout, run.stderr.match(/Warning.*/g)]).toEqual(["", null]);
  const writes = run.actions.filter((span) => text(span, "audit.event.name") === "file.write");
  const lines = writes.map(
    (span) => `${text(span, "audit.actor.id")} ${text(span, "gen_ai.workflow.name")} ${summary(span)}`,
  );
  expect(lines.toSorted()).toEqual(
    Object.keys(THREADS)
      .map((name) => `agent:${name} w file.write WRITE success file://${app.work}/${name}.txt`)
      .toSorted(),
  );
  expect(run.actions.filter((span) => text(span, "audit.event.name") === "audit.bypass")).toEqual([]);
});

test("a policy holds in threads, whatever environment they are given", async () => {
  await using app = await makeApp({
    ...FILES,
    "policy.yaml": `
policy: p
mode: enforce
default: allow
rules:
  - { id: no-writes, deny: { event: file.write } }
`,
  });
  const run = await app.run({ env: { OTEL_AUDIT_POLICY: `${app.dir}/policy.yaml` } });
  expect(run.stdout.match(/EAUDITDENIED|denied by audit policy/g)).toHaveLength(Object.keys(THREADS).length);
  const writes = run.actions.map(summary).filter((line) => line.startsWith("file.write"));
  for (const line of writes) expect(line).toContain("failure policy_denied");
});
