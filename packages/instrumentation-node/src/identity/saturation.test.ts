import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import type { SinkSpan } from "../../../../test/support/index.ts";
import { makeApp, text } from "../testing/run-app.ts";

const MODULES = fileURLToPath(new URL("../../../../node_modules", import.meta.url));
const AGENTS = 40;

/** Paths that were asked for. */
let asked: string[] = [];
let server: Server;

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    setImmediate(() => response.end("ok"));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
beforeEach(() => (asked = []));
afterAll(() => server.close());

/**
 * Many agents at once, and nobody too, through what they share: every target says whose action it is, and by which way it
 * went. What is not bound to its agent by Node is in the way that the README names.
 */
const LOAD = `
  import { AsyncLocalStorage } from "node:async_hooks"; import { EventEmitter, once } from "node:events";
  import fs from "node:fs"; import http from "node:http"; import { createRequire } from "node:module";
  import { Readable, Transform } from "node:stream"; import { pipeline } from "node:stream/promises";
  import { setImmediate as turn } from "node:timers/promises"; import { MessageChannel } from "node:worker_threads";
  import { withAgent } from "$INDEX";
  const { Pool } = createRequire("$DIR/")("undici");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const pool = new Pool(process.env.SERVER, { connections: 1, pipelining: 1 });
  const emitter = new EventEmitter().setMaxListeners(0);
  const { port1, port2 } = new MessageChannel();
  const gate = Promise.withResolvers?.() ?? (() => { let resolve; const promise = new Promise((r) => (resolve = r)); return { promise, resolve }; })();
  const queue = []; let busy = false;
  const refused = []; // Whose actions were denied.
  const touch = (who, way) => { try { fs.readdirSync("$WORK/" + who + "/" + way); } catch (error) { if (error.code === "EAUDITDENIED") refused.push(who); } };
  const enqueue = (task) => new Promise((done) => {
    queue.push(AsyncLocalStorage.bind(() => Promise.resolve(task()).then(done)));
    if (!busy) void drain();
  });
  const drain = async () => { busy = true; while (queue.length > 0) { await queue.shift()(); await turn(); } busy = false; };
  emitter.on("act", touch);
  port2.on("message", ([who]) => { void (who === "nobody" ? touch(who, "message") : withAgent({ id: "agent:" + who }, () => touch(who, "message"))); });
  const chain = gate.promise.then(() => turn());
  const ways = {
    http: async (who) => {
      const request = http.get(process.env.SERVER + "/" + who + "/http", { agent });
      const response = await new Promise((resolve, reject) => request.once("response", resolve).once("error", reject));
      for await (const chunk of response);
      touch(who, "response");
    },
    callback: (who) => new Promise((done) => {
      const finish = () => { touch(who, "callback"); done(); };
      http.get(process.env.SERVER + "/" + who + "/events", { agent }, (response) => response.resume().on("end", finish)).on("error", () => done());
    }),
    undici: async (who) => { const { body } = await pool.request({ path: "/" + who + "/undici", method: "GET" }); await body.text(); touch(who, "body"); },
    fetch: async (who) => { await (await fetch(process.env.SERVER + "/" + who + "/fetch")).text(); touch(who, "fetched"); },
    timer: (who) => new Promise((done) => setTimeout(() => { touch(who, "timer"); done(); }, who.length % 3)),
    interval: (who) => new Promise((done) => { const timer = setInterval(() => { touch(who, "interval"); clearInterval(timer); done(); }, 1); }),
    micro: async (who) => { queueMicrotask(() => touch(who, "micro")); process.nextTick(touch, who, "tick"); await turn(); },
    emitter: (who) => { emitter.emit("act", who, "emitter"); },
    queue: (who) => enqueue(() => touch(who, "queue")),
    earlier: async (who) => { await chain; touch(who, "earlier"); },
    then: (who) => chain.then(() => touch(who, "then")),
    stream: async (who) => {
      async function* source() { touch(who, "source"); yield "a"; await turn(); touch(who, "source-2"); yield "b"; }
      const upper = new Transform({ transform(chunk, _, done) { touch(who, "transform"); done(null, chunk); } });
      await pipeline(Readable.from(source()), upper, async function (from) { for await (const chunk of from) touch(who, "sink"); });
    },
    message: (who) => { port1.postMessage([who]); },
    file: (who) => new Promise((done) => fs.readFile("$WORK/" + who + "/file", (error) => { if (error.code === "EAUDITDENIED") refused.push(who); touch(who, "read"); done(); })),
  };
  const all = (who) => Promise.allSettled(Object.values(ways).map(async (way) => way(who)));
  const names = Array.from({ length: ${AGENTS} }, (_, i) => "a" + i);
  const work = [...names.map((who) => withAgent({ id: "agent:" + who }, () => all(who))), all("nobody")];
  gate.resolve();
  await Promise.all(work);
  await turn(); await turn();
  port1.close(); agent.destroy(); await pool.close();
  console.log(JSON.stringify([...new Set(refused)]));`;

/** What each of them does, once by each way. */
const ACTIONS = (
  "body callback earlier emitter events fetch fetched file http interval message micro queue read response " +
  "sink sink source source-2 then tick timer transform transform undici"
).split(" ");

test.each([
  ["record", ["nobody"], [], AGENTS + 1],
  ["ignore", [], [], AGENTS + 1],
  ["deny", ["nobody"], ["nobody"], AGENTS],
])("unattributed: %s, under saturation", async (unattributed, recorded, refused, askers) => {
  await using app = await makeApp({ "main.mjs": LOAD });
  // Under the name that programs know it by.
  cpSync(join(MODULES, "undici7"), join(app.dir, "node_modules", "undici"), { recursive: true, dereference: true });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const env = { SERVER: `http://127.0.0.1:${port}`, OTEL_AUDIT_UNATTRIBUTED: unattributed };
  const run = await app.run({ env });
  expect(run.stderr.split("\n").filter((line) => line !== "" && !line.startsWith("otel-audit:"))).toEqual([]);
  expect(run.stdout.trim()).toBe(JSON.stringify(refused));
  const lines = run.actions.map((span) => `${text(span, "audit.target.id")} by ${text(span, "audit.actor.id")}`);
  expect(lines.filter((line) => !/\/(a\d+)\/\S* by agent:\1$|\/nobody\/\S* by $/.test(line))).toEqual([]);
  const counts = Map.groupBy(run.actions, (span) => owner(text(span, "audit.target.id")));
  expect([...counts.keys()].toSorted()).toEqual([...names(), ...recorded].toSorted());
  for (const name of names()) expect(counts.get(name)?.map(way).toSorted(), name).toEqual(ACTIONS);
  expect(new Set(asked.map((path) => path.split("/")[1])).size).toBe(askers);
});

function way(span: SinkSpan): string {
  return text(span, "audit.target.id").replace(/.*\//, "");
}

function names(): string[] {
  return Array.from({ length: AGENTS }, (_, i) => `a${i}`);
}

function owner(target: string): string {
  return /\/(a\d+|nobody)\//.exec(target)?.[1] ?? target;
}
