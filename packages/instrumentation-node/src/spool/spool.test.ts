import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "vitest";

import { decodeTraces } from "@otel-audit/otlp";

import { startOtlpSink, tempDir } from "../../../../test/support/index.ts";
import { makeApp, summary, text } from "../testing/run-app.ts";
import { thisOwner } from "./owner.ts";
import { Spool } from "./spool.ts";

const WRITER = `import fs from "node:fs"; import { withAgent } from "$INDEX";
  withAgent({ id: process.env.WHO }, () => fs.writeFileSync(process.env.WHO, ""));`;

/** Writes its record, says so, and then waits to be killed with a blocked event loop: nothing is sent. */
const BLOCKED = `${WRITER} fs.writeSync(1, "written\\n"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;

function folders(spoolDir: string): string[] {
  return existsSync(spoolDir) ? readdirSync(spoolDir) : [];
}

test("kill -9: the next process sends what was left, as the dead process's, and clears the spool", async () => {
  await using app = await makeApp({ "blocked.mjs": BLOCKED, "writer.mjs": WRITER });
  await using victim = await app.start({ env: { WHO: "victim", OTEL_SERVICE_NAME: "first" } });
  await victim.waitForLine("written");
  await victim.kill("SIGKILL");
  expect(app.sink.spans).toEqual([]);
  expect(folders(app.spoolDir)).toHaveLength(1);

  const run = await app.run({ main: "writer.mjs", env: { WHO: "heir", OTEL_SERVICE_NAME: "second" } });
  const of = (who: string) => run.actions.filter((span) => text(span, "audit.actor.id") === who);
  expect(of("victim").map(summary)).toEqual([`file.write WRITE success file://${app.work}/victim`]);
  expect(of("victim")[0]?.resource).toMatchObject({ "service.name": "first", "process.pid": victim.pid });
  expect(of("heir")[0]?.resource).toMatchObject({ "service.name": "second" });
  // Not mixed: no request has records of both.
  for (const { traces } of app.sink.requests) expect(traces.resourceSpans.length).toBeLessThanOrEqual(1);
  expect(folders(app.spoolDir)).toEqual([]);
});

test("a living process keeps its spool to itself", async () => {
  await using app = await makeApp({ "blocked.mjs": BLOCKED, "writer.mjs": WRITER });
  await using neighbour = await app.start({ env: { WHO: "neighbour" } });
  await neighbour.waitForLine("written");
  const run = await app.run({ main: "writer.mjs", env: { WHO: "self" } });
  expect(run.actions.map((span) => text(span, "audit.actor.id"))).toEqual(["self"]);
  expect(folders(app.spoolDir)).toHaveLength(1);
  await neighbour.kill("SIGKILL");
});

test("what was claimed by a process that dies too goes to the one after it", async () => {
  await using app = await makeApp({ "blocked.mjs": BLOCKED, "writer.mjs": WRITER });
  for (const WHO of ["first", "second"]) {
    app.sink.failAlways({ status: 503 });
    await using victim = await app.start({
      main: WHO === "first" ? "blocked.mjs" : "writer.mjs",
      env: { WHO, ...(WHO === "first" ? {} : { OTEL_AUDIT_EXPORTER_TRUST: "1" }) },
    });
    if (WHO === "first") await victim.waitForLine("written").then(() => victim.kill("SIGKILL"));
    else await victim.exited;
  }
  expect(folders(app.spoolDir)).toHaveLength(1);
  app.sink.failAlways(undefined);
  const run = await app.run({ main: "writer.mjs", env: { WHO: "third" } });
  expect(run.actions.map((span) => text(span, "audit.actor.id")).toSorted()).toEqual(["first", "second", "third"]);
  expect(folders(app.spoolDir)).toEqual([]);
});

test.each([
  ["process.exit()", `process.exit(3);`, 3],
  ["an uncaught exception", `throw new Error("boom");`, 1],
])("%s: the records wait for the next process", async (_, source, code) => {
  await using app = await makeApp({ "exit.mjs": `${WRITER} ${source}`, "writer.mjs": WRITER });
  const first = await app.run({ env: { WHO: "exiting" } });
  expect(first).toMatchObject({ code, actions: [] });
  const second = await app.run({ main: "writer.mjs", env: { WHO: "next" } });
  expect(second.actions.map((span) => text(span, "audit.actor.id")).toSorted()).toEqual(["exiting", "next"]);
  expect(second.control.filter((span) => span.name === "process.summary")).toHaveLength(2);
});

test.each([[503], [429], [502], [504]])("a collector that answers %d gets the records later, once", async (status) => {
  await using app = await makeApp({
    "main.mjs": `${WRITER} import { flush } from "$INDEX"; while (!(await flush())) await new Promise((go) => setTimeout(go, 20));`,
  });
  app.sink.failNext({ status }, 2);
  const run = await app.run({ env: { WHO: "patient" } });
  expect(run.actions).toHaveLength(1);
  expect(run.stderr).toContain("records go out again");
});

test("records go only to an endpoint that answers as ours, or is trusted", async () => {
  await using app = await makeApp({ "main.mjs": WRITER });
  await using stranger = await startOtlpSink();
  const OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT = stranger.url;
  const wary = await app.run({ env: { WHO: "wary", OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT } });
  expect(wary.code).toBe(0);
  expect(wary.stderr).toContain("does not answer as an otel-audit collector");
  expect(stranger.spans).toEqual([]);
  expect(folders(app.spoolDir)).toHaveLength(1);

  await app.run({ env: { WHO: "trusting", OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT, OTEL_AUDIT_EXPORTER_TRUST: "1" } });
  const who = stranger.spans.filter((span) => span.name === "file.write").map((span) => text(span, "audit.actor.id"));
  expect(who.toSorted()).toEqual(["trusting", "wary"]);
});

test("no collector: the application ends at once, with its own exit code, and the records wait", async () => {
  await using app = await makeApp({ "main.mjs": `${WRITER} process.exitCode = 5;` });
  const run = await app.run({ env: { WHO: "alone", OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" } });
  expect(run.code).toBe(5);
  expect(run.stderr).toContain("records wait in");
  expect((await app.run({ env: { WHO: "later" } })).actions).toHaveLength(2);
});

test("a record that the collector refuses for good holds up no other", async () => {
  await using app = await makeApp({
    "main.mjs": `${WRITER} for (let i = 0; i < 7; i++) withAgent({ id: "n" + i }, () => fs.writeFileSync("n" + i, ""));`,
  });
  // The probe, the batch of all, and its first half down to one record.
  await using refusing = await startRefusingSink("n3");
  const env = { WHO: "w", OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: refusing.url };
  const run = await app.run({ env });
  expect(refusing.accepted.toSorted()).toEqual(["n0", "n1", "n2", "n4", "n5", "n6", "w"]);
  expect(run.stderr).toContain("refused records");
  expect(folders(app.spoolDir).filter((name) => name.startsWith("rejected-"))).toHaveLength(1);
});

test("a spool that somebody removes is made again; what was in it is counted as lost and told as a bypass", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { flush } from "$INDEX";
      const remove = () => fs.rmSync(process.env.OTEL_AUDIT_SPOOL_DIR, { recursive: true });
      await flush();
      fs.writeFileSync("lost", ""); remove(); await flush();
      fs.writeFileSync("kept", ""); fs.writeFileSync("kept too", "");`,
  });
  const run = await app.run();
  expect(run.actions.map(summary)).toEqual(
    ["kept", "kept%20too"].map((name) => `file.write WRITE success file://${app.work}/${name}`),
  );
  const bypass = run.control.find((span) => span.name === "audit.bypass");
  expect(bypass?.attributes).toMatchObject({ "audit.bypass.kind": "spool_removed" });
  // The write and the removal itself.
  expect(text(bypass ?? {}, "audit.bypass.detail")).toMatch(/, 2 records$/);
  expect(run.control.at(-1)?.attributes).toMatchObject({ "audit.summary.lost": 2 });
  expect(folders(app.spoolDir)).toEqual([]);
});

test("in enforce mode nothing runs while there is nowhere to write its record to", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { flush } from "$INDEX"; import { setTimeout as sleep } from "node:timers/promises";
      import { execSync } from "node:child_process";
      const act = (name) => { try { fs.writeFileSync(name, ""); return "ran"; } catch (error) { return error.rule; } };
      await flush();
      execSync('rm -r "$OTEL_AUDIT_SPOOL_DIR"; : > "$OTEL_AUDIT_SPOOL_DIR"');
      // The first is how the audit learns of it.
      console.log(act("a"), act("b"), act("c"));
      await sleep(1100);
      console.log(act("d"), act("e"));
      execSync('rm "$OTEL_AUDIT_SPOOL_DIR"');
      await sleep(1100);
      console.log(act("f"), act("g"));`,
  });
  const run = await app.run({ env: { OTEL_AUDIT_MODE: "enforce" } });
  expect(run.stdout.trim().split("\n")).toEqual(["ran spool_error spool_error", "spool_error spool_error", "ran ran"]);
  expect(run.actions.map(summary).slice(-2)).toEqual(
    ["f", "g"].map((name) => `file.write WRITE success file://${app.work}/${name}`),
  );
});

test("append refuses what is over the bound and takes records again once there is room", () => {
  const spool = new Spool(join(tempDir("spool"), "s"), thisOwner({}, { name: "test", version: "0" }), 4096);
  const record = new Uint8Array(1000);
  for (let i = 0; i < 3; i++) spool.append(record);
  expect(() => spool.append(record)).toThrow("the spool is full (4096 bytes)");
  spool.rotate();
  for (const file of spool.closedFiles().slice()) spool.remove(file);
  spool.append(record);
  spool.close();
});

test("a spool directory that others can use is made private; one that is no directory is an error", () => {
  const dir = tempDir("spool");
  writeFileSync(join(dir, "file"), "");
  const owner = thisOwner({}, { name: "test", version: "0" });
  expect(() => new Spool(join(dir, "file"), owner, 1)).toThrow(expect.objectContaining({ code: "SPOOL" }));
  mkdirSync(join(dir, "open"), { mode: 0o777 });
  const spool = new Spool(join(dir, "open"), owner, 1 << 20);
  expect(folders(join(dir, "open"))).toHaveLength(1);
  spool.close();
});

/** Answers 400 to every request that has a record of `agent` in it. */
async function startRefusingSink(agent: string) {
  const accepted: string[] = [];
  const answer = (body: Buffer, response: ServerResponse): void => {
    const spans = decodeTraces(body).resourceSpans.flatMap(({ scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) => spans),
    );
    const agents = spans.filter((span) => span.name === "file.write").map((span) => text(span, "audit.actor.id"));
    if (!agents.includes(agent)) accepted.push(...agents);
    response.writeHead(agents.includes(agent) ? 400 : 200, { "otel-audit-collector": "test" }).end();
  };
  const server = createServer((request, response) => void buffer(request).then((body) => answer(body, response)));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  const port = typeof address === "object" ? address?.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    accepted,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await sleep(0);
    },
  };
}
