import { once } from "node:events";
import http from "node:http";
import net, { type Server } from "node:net";

import { afterEach, beforeEach, expect, test } from "vitest";

import { undiciCopy } from "../../testing/undici-copies.ts";
import { type ReviewingCore, reviewingCore } from "../../testing/reviewing-core.ts";
import { property } from "../../unknown.ts";
import { undiciDriver } from "../undici/driver.ts";
import { httpDriver } from "./driver.ts";

// Requests that an approver is asked about.

let core: ReviewingCore;
let server: Server;
let url: string;
let connections = 0;

beforeEach(async () => {
  connections = 0;
  server = http.createServer((request, response) => request.resume().on("end", () => response.end("ok")));
  server.on("connection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${String(property(server.address(), "port"))}`;
  core = reviewingCore([httpDriver, undiciDriver]);
});
afterEach(() => {
  core[Symbol.dispose]();
  if (server instanceof http.Server) server.closeAllConnections();
  server.close();
});

type Consumer = (url: string, signal?: AbortSignal) => Promise<unknown>;

function byHttp(options: http.RequestOptions): Consumer {
  return (to, signal) =>
    new Promise((resolve, reject) => {
      const request = http.request(to, { method: "POST", ...options, ...(signal && { signal }) });
      request
        .on("error", reject)
        .on("response", (response) => response.resume().on("end", () => resolve(response.statusCode)));
      request.end("body");
    });
}

function byUndici(installed: "undici" | "undici7" | "undici6"): Consumer {
  const copy = undiciCopy(installed);
  return async (to, signal) => {
    const dispatcher = new copy.Agent();
    try {
      const { statusCode, body } = await copy.request(to, {
        dispatcher,
        method: "POST",
        body: "body",
        ...(signal && { signal }),
      });
      await body.text();
      return statusCode;
    } finally {
      await dispatcher.close();
    }
  };
}

const CONSUMERS: readonly (readonly [string, Consumer])[] = [
  ["http", byHttp({})],
  [
    "http, createConnection",
    (to, signal) => byHttp({ createConnection: () => net.connect(Number(new URL(to).port)) })(to, signal),
  ],
  [
    "fetch",
    (to, signal) => fetch(to, { method: "POST", body: "body", ...(signal && { signal }) }).then(({ status }) => status),
  ],
  ["undici 8", byUndici("undici")],
  ["undici 7", byUndici("undici7")],
  ["undici 6", byUndici("undici6")],
];

async function asked(): Promise<void> {
  while (core.waiting === 0) await new Promise(setImmediate);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(connections).toBe(0);
}

test.each(CONSUMERS)("%s waits for the answer without a connection", async (_, consumer) => {
  const allowed = consumer(`${url}/x`);
  await asked();
  core.answer(true);
  expect(await allowed).toBe(200);
  expect(core.ended).toEqual([`${url}/x success`]);
});

test.each(CONSUMERS)("%s that is refused never connects", async (_, consumer) => {
  const refused = consumer(`${url}/x`);
  await asked();
  core.answer(false);
  await expect(refused).rejects.toMatchObject({ code: "EAUDITDENIED" });
  expect(connections).toBe(0);
  expect(core.ended).toEqual([]);
});

test.each(CONSUMERS)("%s that is aborted meanwhile", async (_, consumer) => {
  const abort = new AbortController();
  const aborted = consumer(`${url}/x`, abort.signal);
  await asked();
  const answer = new Promise((resolve) => setTimeout(resolve, 50)).then(() => core.answer(true));
  abort.abort();
  await expect(aborted).rejects.toThrow(/abort/i);
  await answer;
  while (core.ended.length === 0) await new Promise(setImmediate);
  expect(core.ended).toEqual([expect.stringMatching(/\/x (?:ABORT_ERR|20|UND_ERR_ABORTED)$/)]);
});

test("http: who destroys a request that waits hears of it at once", async () => {
  const request = http.get(`${url}/x`);
  await asked();
  const events: string[] = [];
  for (const event of ["abort", "error", "close"]) request.on(event, () => events.push(event));
  request.destroy();
  await new Promise(setImmediate);
  expect(events).toEqual(["error", "close"]);
  core.answer(true);
  while (core.ended.length === 0) await new Promise(setImmediate);
  expect(core.ended).toEqual([`${url}/x ECONNRESET`]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(connections).toBe(0);
});

test("http: a connection that cannot be made after the answer is an error event", async () => {
  const request = http.get({ host: "127.0.0.1", port: 99_999, path: "/x" });
  await asked();
  core.answer(true);
  const error = await new Promise((resolve) => request.on("error", resolve));
  expect(error).toMatchObject({ code: "ERR_SOCKET_BAD_PORT" });
});
