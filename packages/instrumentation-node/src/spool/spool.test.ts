import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { join, relative, sep } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

import { expect, test } from "vitest";

import { scanFrames } from "@otel-audit/ledger/frames";
import { decodeTraces } from "@otel-audit/otlp";

import { startOtlpSink, tempDir } from "../../../../test/support/index.ts";
import { makeApp, summary, text } from "../testing/run-app.ts";
import { SpoolContents } from "./contents.ts";
import { shipSpool } from "./ship.ts";
import { Leftover } from "./leftover.ts";
import { createFolder, readOwner, thisOwner } from "./owner.ts";
import type { InSpool } from "../sink.ts";
import { Spool } from "./spool.ts";

const WRITER = `import fs from "node:fs"; import { withAgent } from "$INDEX";
  withAgent({ id: process.env.WHO }, () => fs.writeFileSync(process.env.WHO, ""));`;

/** Writes its record, says so, and then waits to be killed with a blocked event loop: nothing is sent. */
const BLOCKED = `${WRITER} fs.writeSync(1, "written\\n"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`;

/** A shell at work beside the application, for what the audit would not let it do itself. Begun while records can be written. */
const SHELL = `import { spawn } from "node:child_process";
  const helper = spawn("sh", ["-c", 'while read -r line; do eval "$line"; echo; done']);
  const sh = (line) => new Promise((done) => { helper.stdout.once("data", done); helper.stdin.write(line + "\\n"); });`;

function folders(spoolDir: string): string[] {
  return existsSync(spoolDir) ? readdirSync(spoolDir) : [];
}

function makeSpool(maxBytes: number, dir = join(tempDir("spool"), "s")): Spool {
  return new Spool(dir, thisOwner({}, { name: "test", version: "0" }), maxBytes);
}

/** A frame of a record that says nothing. */
function frame(sequence: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 1);
  bytes.writeUIntLE(sequence, 0, 6);
  bytes.writeUInt16LE(0, 6);
  return bytes;
}

function write(spool: Spool, length: number): void {
  spool.write(frame(spool.nextSequence, length), length, false);
}

/** Begins a record whose outcome is the same frame with other last bytes. */
function begin(spool: Spool, length: number): (tailLength?: number) => void {
  const entry: InSpool = {
    sequence: 0,
    epoch: 0,
    headLength: 0,
    head: undefined,
    hasRoom: false,
    length: 0,
    at: 0,
    newer: undefined,
    older: undefined,
  };
  spool.begin(entry, frame(spool.nextSequence, length), length, length - 50, false);
  return (tailLength = 50) => spool.end(entry, Buffer.alloc(tailLength, 2), tailLength, false);
}

/** The numbers of all that can be sent, which is read and removed as the shipper does. */
function sendAll(spool: Spool): number[] {
  spool.rotate();
  const sent: number[] = [];
  for (const file of spool.closedFiles().slice()) {
    const contents = file.read();
    if (contents === undefined) throw new Error(`${file.path} is gone`);
    sent.push(...sequences(contents));
    spool.remove(file, contents);
  }
  return sent;
}

function sequences(contents: SpoolContents): number[] {
  return Array.from({ length: contents.count }, (_, i) => i)
    .filter((i) => contents.span(i) !== undefined)
    .map((i) => contents.sequence(i));
}

/** What the next process would send of the folders in a spool directory. */
function inherit(dir: string): number[] {
  return folders(dir).flatMap((name) => {
    const folder = join(dir, name);
    const owner = readOwner(folder);
    const leftover = owner && new Leftover(folder, owner);
    return (leftover?.paths ?? []).flatMap((path) => sequences(leftover?.read(path) ?? new SpoolContents(EMPTY)));
  });
}

const EMPTY = scanFrames(new Uint8Array(0));

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

test("what processes that keep dying take over lies side by side, and what is empty goes", () => {
  const dir = join(tempDir("spool"), "s");
  makeSpool(0, dir).close();
  const dead = { ...thisOwner({}, { name: "test", version: "0" }), pid: 2 ** 22 + 1 };
  let folder = dir;
  for (let i = 0; i < 30; i++) {
    folder = createFolder(folder, dead);
    if (i % 2 === 0) writeFileSync(join(folder, "00000001.frames"), "");
  }
  const spool = makeSpool(0, dir);
  expect(spool.claimLeftovers()).toBe(15);
  const [own = ""] = folders(dir);
  const depths = spool.closedFiles().map(({ path }) => relative(join(dir, own), path).split(sep).length);
  expect(depths).toEqual(Array.from({ length: 15 }, () => 2));
  expect(readdirSync(join(dir, own), { withFileTypes: true }).filter((entry) => entry.isDirectory())).toHaveLength(15);
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
    "main.mjs": `import fs from "node:fs"; import { flush } from "$INDEX"; ${SHELL}
      await flush();
      fs.writeFileSync("lost", "");
      // The event loop stands still meanwhile: nothing is sent.
      const removed = sh('rm -r "$OTEL_AUDIT_SPOOL_DIR"; : > removed');
      while (!fs.existsSync("removed")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      await removed; await flush();
      fs.writeFileSync("kept", ""); fs.writeFileSync("kept too", "");
      helper.stdin.end();`,
  });
  const run = await app.run();
  const written = run.actions.filter((span) => text(span, "audit.event.name") === "file.write");
  expect(written.map(summary)).toEqual(
    ["kept", "kept%20too"].map((name) => `file.write WRITE success file://${app.work}/${name}`),
  );
  const bypass = run.control.find((span) => span.name === "audit.bypass");
  expect(bypass?.attributes).toMatchObject({ "audit.bypass.kind": "spool_removed" });
  expect(text(bypass ?? {}, "audit.bypass.detail")).toMatch(/, 1 records$/);
  expect(run.control.at(-1)?.attributes).toMatchObject({ "audit.summary.lost": 1 });
  expect(folders(app.spoolDir)).toEqual([]);
});

test.each(["enforce", "observe"])(
  "%s mode: nothing runs while there is nowhere to write its record to",
  async (mode) => {
    await using app = await makeApp({
      "main.mjs": `import fs from "node:fs"; import { flush } from "$INDEX"; import { setTimeout as sleep } from "node:timers/promises";
      ${SHELL}
      const act = (name) => { try { fs.writeFileSync(name, ""); return "ran"; } catch (error) { return error.rule; } };
      await flush();
      await sh('rm -r "$OTEL_AUDIT_SPOOL_DIR"; : > "$OTEL_AUDIT_SPOOL_DIR"');
      console.log(act("a"), act("b"), act("c"));
      await sleep(300);
      console.log(act("d"), act("e"));
      await sh('rm "$OTEL_AUDIT_SPOOL_DIR"');
      console.log(act("f"), act("g"));
      helper.stdin.end();`,
    });
    const run = await app.run({ env: { OTEL_AUDIT_MODE: mode } });
    expect(run.stdout.trim().split("\n")).toEqual([
      "spool_error spool_error spool_error",
      "spool_error spool_error",
      "ran ran",
    ]);
    const written = run.actions.map(summary).filter((line) => line.startsWith("file.write"));
    expect(written).toEqual(["f", "g"].map((name) => `file.write WRITE success file://${app.work}/${name}`));
  },
);

test("a full spool refuses what begins, never how it ended, and takes records again once there is room", () => {
  const spool = makeSpool(16_384);
  const endOne = begin(spool, 1000);
  while (spool.nextSequence < 8) write(spool, 1000);
  expect(() => write(spool, 1000)).toThrow("OTEL_AUDIT_SPOOL_MAX_BYTES is 16384");
  expect(() => begin(spool, 1000)).toThrow("OTEL_AUDIT_SPOOL_MAX_BYTES is 16384");
  expect(spool.nextSequence).toBe(8);
  endOne();
  expect(sendAll(spool)).toEqual([2, 3, 4, 5, 6, 7, 1]);
  write(spool, 1000);
  spool.close();
});

test("an action that outlasts its file: its intent is kept, and is void once it has ended", () => {
  const dir = join(tempDir("spool"), "s");
  const spool = makeSpool(1 << 26, dir);
  const [, endTwo, endThree] = [begin(spool, 100), begin(spool, 100), begin(spool, 100)];
  write(spool, 100);
  expect(sendAll(spool)).toEqual([4]);
  endTwo();
  expect(sendAll(spool)).toEqual([2]);
  endThree();
  spool.close();
  // As the process that inherits the folder sees it: 1 never ended, 2 did and went out, 3 did and is there.
  expect(inherit(dir)).toEqual([1, 3]);
});

test("an action that outlasts its file and ends leaves nothing behind", () => {
  const dir = join(tempDir("spool"), "s");
  const spool = makeSpool(1 << 26, dir);
  const endOne = begin(spool, 100);
  write(spool, 100);
  expect(sendAll(spool)).toEqual([2]);
  endOne();
  expect(sendAll(spool)).toEqual([1]);
  spool.close();
  expect(folders(dir)).toEqual([]);
});

test("mapped files: many records, used again, none lost or doubled", () => {
  const dir = join(tempDir("spool"), "s");
  const spool = makeSpool(1 << 28, dir);
  const sent: number[] = [];
  const total = 30_000;
  for (let i = 1; i <= total; i++) {
    const end = begin(spool, 600);
    if (i % 7 !== 0) end();
    if (i % 9000 === 0) sent.push(...sendAll(spool));
  }
  sent.push(...sendAll(spool));
  spool.close();
  const left = inherit(dir);
  expect(left.every((sequence) => sequence % 7 === 0)).toBe(true);
  expect([...sent, ...left].toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
});

test("mapped files: a plain success takes its intent's place, another end is a frame of its own", () => {
  const dir = join(tempDir("spool"), "s");
  const spool = makeSpool(1 << 28, dir);
  while (spool.nextSequence < 600) write(spool, 100);
  const ends = [600, 601, 602].map(() => begin(spool, 200));
  ends[0]?.();
  ends[1]?.(60);
  spool.close();
  const [folder = ""] = folders(dir);
  const name = readdirSync(join(dir, folder)).findLast((file) => file.endsWith(".frames")) ?? "";
  const scan = scanFrames(readFileSync(join(dir, folder, name)));
  expect(scan.damage).toEqual([]);
  expect([...scan.kind.subarray(scan.count - 4, scan.count)]).toEqual([5, 4, 4, 0]);
  expect(inherit(dir).slice(-3)).toEqual([600, 602, 601]);
});

test("a completed intent that was damaged, but for its end, is none", () => {
  const spool = makeSpool(1 << 28);
  while (spool.nextSequence < 600) write(spool, 100);
  begin(spool, 200)();
  spool.rotate();
  const bytes = readFileSync(spool.closedFiles().at(-1)?.path ?? "");
  const whole = scanFrames(bytes);
  const end = whole.payloadEnd[whole.count - 1] ?? 0;
  bytes[end - 1] = 9;
  expect(scanFrames(bytes).count).toBe(whole.count);
  bytes[end - 51] = 9;
  expect(scanFrames(bytes).count).toBe(whole.count - 1);
  spool.close();
});

test("a record that is larger than a file", () => {
  const spool = makeSpool(1 << 28);
  while (spool.nextSequence < 600) write(spool, 100);
  write(spool, 5 << 20);
  expect(sendAll(spool)).toHaveLength(600);
  spool.close();
});

const HANGS = `import fs from "node:fs"; import http from "node:http"; import { withAgent } from "$INDEX";
  withAgent({ id: "agent:a" }, () => {
    fs.writeFileSync("done", "");
    http.get(process.env.SLOW + "/slow").on("error", () => {}).on("finish", () => END);
  });`;

test.each([
  ["kill -9", "process.kill(process.pid, 'SIGKILL')"],
  ["process.exit()", "process.exit(0)"],
])("%s in the middle of an action: its record has the outcome unknown", async (_, end) => {
  const server = createServer(() => {});
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  const SLOW = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  await using app = await makeApp({ "hangs.mjs": HANGS.replace("END", end), "writer.mjs": WRITER });
  await app.run({ env: { SLOW } });
  const run = await app.run({ main: "writer.mjs", env: { WHO: "heir" } });
  server.closeAllConnections();
  server.close();
  const left = run.actions.filter((span) => text(span, "audit.actor.id") === "agent:a");
  expect(left.map(summary)).toEqual([
    `file.write WRITE success file://${app.work}/done`,
    `http.request READ unknown ${SLOW}/slow`,
  ]);
  const numbers = run.actions.concat(run.control).map((span) => span.attributes?.["audit.producer.sequence"]);
  expect(numbers).toContain(1);
  // Numbered in the order in which they began: the start of the process is the first of its records.
  expect(left[1]?.attributes?.["audit.producer.sequence"]).toBe(
    Number(left[0]?.attributes?.["audit.producer.sequence"]) + 1,
  );
  expect(folders(app.spoolDir)).toEqual([]);
});

test("a process that was taken for dead: what it finishes replaces what was sent in its name", async () => {
  await using app = await makeApp({
    "main.mjs": `import fs from "node:fs"; import { flush, withAgent } from "$INDEX"; ${SHELL}
      import http from "node:http";
      const server = http.createServer((_, response) => finish = () => response.end()).listen(0, "127.0.0.1");
      let finish;
      await new Promise((done) => server.on("listening", done));
      const done = withAgent({ id: "agent:a" }, () => new Promise((resolve) =>
        http.get({ port: server.address().port, path: "/x" }, (response) => response.resume().on("end", resolve))));
      while (finish === undefined) await new Promise((next) => setImmediate(next));
      await flush();
      // What another process does with the folder of a dead one.
      await sh('mv "$OTEL_AUDIT_SPOOL_DIR"/* "$OTEL_AUDIT_SPOOL_DIR"/../inherited');
      fs.writeFileSync("between", "");
      await flush();
      fs.writeFileSync("after", "");
      finish();
      await done;
      helper.stdin.end();
      server.close();`,
  });
  const run = await app.run();
  const record = run.actions.find((span) => text(span, "audit.event.name") === "http.request");
  expect(record?.attributes).toMatchObject({ "audit.outcome": "success" });
  expect(text(record ?? {}, "audit.record.supersedes")).toMatch(/^[0-9A-Z]{26}$/);
  expect(text(record ?? {}, "audit.record.supersedes")).not.toBe(text(record ?? {}, "audit.record.id"));
});

const FILLS = `import fs from "node:fs"; import { setTimeout as sleep } from "node:timers/promises";
  const outcomes = { ran: 0, denied: 0 };
  for (let i = 0; i < 1000; i++) {
    try { await fs.promises.writeFile("f" + i, ""); outcomes.ran++; } catch (error) { outcomes[error.rule === "spool_error" ? "denied" : error.code]++; }
  }
  console.log(JSON.stringify(outcomes));`;

test("a full spool, deny: what cannot be recorded does not run", async () => {
  await using app = await makeApp({ "fills.mjs": FILLS });
  app.sink.failAlways({ status: 503 });
  const env = { OTEL_AUDIT_SPOOL_MAX_BYTES: "1048576", OTEL_AUDIT_EXPORTER_TRUST: "1" };
  const run = await app.run({ env });
  const { ran, denied } = JSON.parse(run.stdout);
  expect(ran).toBeGreaterThan(100);
  expect(ran + denied).toBe(1000);
  expect(readdirSync(app.work)).toHaveLength(ran);
  app.sink.failAlways(undefined);
  await shipSpool(app.spoolDir, { endpoint: app.sink.url });
  expect(app.sink.spans.filter((span) => text(span, "audit.event.name") === "file.write")).toHaveLength(ran);
});

test("a full spool, block: an action waits until there is room for its record", async () => {
  await using app = await makeApp({ "fills.mjs": FILLS });
  app.sink.failAlways({ status: 503 });
  const env = { OTEL_AUDIT_SPOOL_MAX_BYTES: "1048576", OTEL_AUDIT_EXPORTER_TRUST: "1", OTEL_AUDIT_SPOOL_FULL: "block" };
  await using child = await app.start({ env });
  let files = -1;
  while (files !== (files = readdirSync(app.work).length) || files < 100) await sleep(300);
  expect(files).toBeLessThan(1000);
  app.sink.failAlways(undefined);
  await child.exited;
  expect(JSON.parse(child.stdout)).toEqual({ ran: 1000, denied: 0 });
  expect(app.sink.spans.filter((span) => text(span, "audit.event.name") === "file.write")).toHaveLength(1000);
});

test("a spool directory that others can use is made private; one that is no directory is an error", () => {
  const dir = tempDir("spool");
  writeFileSync(join(dir, "file"), "");
  const owner = thisOwner({}, { name: "test", version: "0" });
  for (const bad of [join(dir, "file"), join(dir, "file", "below"), "/proc/otel-audit/spool"]) {
    expect(() => new Spool(bad, owner, 1)).toThrow(expect.objectContaining({ code: "SPOOL" }));
  }
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
