import { expect, test } from "vitest";

import { makeApp, summary, text } from "./testing/run-app.ts";

test("the application hears of beforeExit as often as without the audit", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; fs.writeFileSync("f", "");
      let times = 0;
      process.on("beforeExit", () => { times++; if (times === 1) setTimeout(() => fs.writeFileSync("g", ""), 10); });
      process.on("exit", () => console.log(times, process.listenerCount("beforeExit"), process.listenerCount("exit")));`,
  });
  const bare = await app.run({ nodeArgs: [] });
  const audited = await app.run();
  expect(audited.stdout).toBe(bare.stdout);
  const next = await app.run();
  expect(next.actions.map(summary).filter((line) => line.includes("write")).length).toBeGreaterThanOrEqual(3);
});

test("clocks and timers of the application's own do not reach the audit", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { flush } from "$INDEX";
      Date.now = () => 86_400_000; performance.now = () => { throw new Error("no"); };
      globalThis.setTimeout = () => 1; globalThis.setInterval = () => 1; globalThis.clearTimeout = () => { throw new Error("no"); };
      fs.writeFileSync("f", ""); await flush(); fs.writeFileSync("g", "");`,
  });
  const { code, actions } = await app.run();
  expect(code).toBe(0);
  expect(actions).toHaveLength(2);
  for (const { startTimeUnixNano } of actions) expect(startTimeUnixNano > 1_700_000_000_000_000_000n).toBe(true);
});

test("what a thread that was terminated had not sent is sent by its process", async () => {
  await using app = await makeApp({
    "main.mjs": `import { Worker } from "node:worker_threads"; import { once } from "node:events";
      const worker = new Worker("$DIR/worker.mjs");
      await once(worker, "message");
      await worker.terminate();`,
    "worker.mjs": `import fs from "node:fs"; import { parentPort } from "node:worker_threads";
      fs.writeFileSync("by-thread", ""); parentPort.postMessage("done"); for (;;);`,
  });
  const { actions } = await app.run();
  expect(actions.map(summary)).toEqual([`file.write WRITE success file://${app.work}/by-thread`]);
});

test("shutdown while a collector is slow: the process ends well, and the records are there for the next", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { flush, shutdown } from "$INDEX";
      for (let i = 0; i < 1500; i++) fs.writeFileSync("f", "");
      setTimeout(() => {}, 7000).unref();
      await shutdown();
      const more = Array.from({ length: 1000 }, () => Buffer.alloc(10_000, 1));
      console.log(more.length);`,
    "next.mjs": "",
  });
  app.sink.failAlways({ status: 200, delayMs: 6000 });
  const run = await app.run();
  expect(run).toMatchObject({ code: 0, stdout: "1000\n" });
  app.sink.failAlways(undefined);
  // What a process does not get rid of at its end is the next one's.
  await expect
    .poll(async () => {
      const { actions } = await app.run({ main: "next.mjs" });
      const written = actions.filter(({ attributes }) => attributes?.["audit.event.name"] === "file.write");
      return new Set(written.map((span) => text(span, "audit.record.id"))).size;
    })
    .toBe(1500);
});
