import { once } from "node:events";
import { connect, createServer } from "node:net";
import { Writable } from "node:stream";

import type * as Undici from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type HttpApi, startHttpApi } from "../../../../../test/support/index.ts";
import { withAgent } from "../../identity.ts";
import { type Recorder, record } from "../../testing/recorder.ts";
import { httpDriver } from "../http/driver.ts";
import { property } from "../../unknown.ts";
import { undiciDriver } from "./driver.ts";

const DENY = `
policy: test
mode: enforce
default: allow
resources:
  secret: { http: "*://**/denied" }
rules:
  - { id: no-secret, deny: { resource: secret } }
`;

let api: HttpApi;
let recorder: Recorder;
let undici: typeof Undici;

beforeAll(async () => {
  api = await startHttpApi();
});
afterAll(() => api.close());
beforeEach(async () => {
  api.clear();
  // The http driver too: nothing may be recorded by both.
  recorder = await record([httpDriver, undiciDriver], DENY);
  undici = await import("undici");
});
afterEach(() => recorder[Symbol.dispose]());

interface Init {
  readonly method?: string;
  readonly body?: string | Blob;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** What both have in common. */
type Fetch = (url: string | URL, init?: Init) => Promise<{ text(): Promise<string> }>;

const fetches: readonly (readonly [string, () => Fetch])[] = [
  ["global fetch", () => globalThis.fetch],
  ["fetch of undici", () => undici.fetch],
];

test.each(fetches)("%s: one record a hop, with its outcome", async (_, get) => {
  const fetch = get();
  api.on("GET /old", { status: 302, headers: { location: "/new?secret=1" } });
  api.on("GET /404", { status: 404 });
  api.on("GET /slow", { delayMs: 10_000 });
  api.on("GET /cut", { destroy: true });
  await (await fetch(`${api.url}/x?secret=1`)).text();
  await (await fetch(new URL(`${api.url}/old`))).text();
  await (await fetch(`${api.url}/post`, { method: "POST", body: "x" })).text();
  await (await fetch(`${api.url}/404`)).text();
  await expect(fetch(`${api.url}/slow`, { signal: AbortSignal.timeout(30) })).rejects.toThrow("timeout");
  await expect(fetch(`${api.url}/cut`)).rejects.toThrow("fetch failed");
  expect(recorder.take()).toEqual([
    `READ success ${api.url}/x`,
    `READ success ${api.url}/old`,
    `READ success ${api.url}/new`,
    `WRITE success ${api.url}/post`,
    `READ failure 404 ${api.url}/404`,
    `READ failure TimeoutError ${api.url}/slow`,
    `READ failure UND_ERR_SOCKET ${api.url}/cut`,
  ]);
});

test.each(fetches)("%s: attributes without query and credentials", async (_, get) => {
  await (await get()(`${api.url}/x?token=secret`, { method: "PUT", headers: { authorization: "secret" } })).text();
  const [attributes] = recorder.takeAttributes();
  expect(attributes).toMatchObject({
    "audit.event.name": "http.request",
    "http.request.method": "PUT",
    "http.response.status_code": 200,
    "url.full": `${api.url}/x`,
    "server.address": "127.0.0.1",
    "server.port": api.port,
  });
  expect(JSON.stringify(attributes)).not.toContain("secret");
});

/** A host that counts who connects. */
async function countConnections(): Promise<{ url: string; count: () => Promise<number>; close: () => void }> {
  const ports: (number | undefined)[] = [];
  const server = createServer((socket) => {
    ports.push(socket.remotePort);
    socket.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = Number(property(server.address(), "port"));
  return {
    url: `http://127.0.0.1:${port}`,
    // The kernel hands out connections in their order: what came before ours has been counted when ours is.
    count: async () => {
      const own = connect(port, "127.0.0.1").resume();
      const mine = new Promise<number | undefined>((resolve) => own.once("connect", () => resolve(own.localPort)));
      await once(own, "close");
      return ports.indexOf(await mine);
    },
    close: () => server.close(),
  };
}

test.each(fetches)("%s denied: rejects with the denial, and there is no connection", async (_, get) => {
  const host = await countConnections();
  await expect(get()(`${host.url}/denied`)).rejects.toMatchObject({ code: "EAUDITDENIED", rule: "no-secret" });
  await expect(get()(`${host.url}/denied`, { method: "POST", body: new Blob(["x"]) })).rejects.toMatchObject({
    code: "EAUDITDENIED",
  });
  expect(await host.count()).toBe(0);
  expect(recorder.take()).toEqual([
    `READ failure policy_denied ${host.url}/denied`,
    `WRITE failure policy_denied ${host.url}/denied`,
  ]);
  host.close();
});

test.each(fetches)("%s: a redirect to what is denied is not followed", async (_, get) => {
  api.on("GET /old", { status: 302, headers: { location: "/denied" } });
  await expect(get()(`${api.url}/old`)).rejects.toMatchObject({ code: "EAUDITDENIED" });
  expect(recorder.take()).toEqual([`READ success ${api.url}/old`, `READ failure policy_denied ${api.url}/denied`]);
  expect(api.requests.map(({ path }) => path)).toEqual(["/old"]);
});

const CALLS: readonly (readonly [string, (url: string) => Promise<unknown>])[] = [
  ["request", async (url) => (await undici.request(url)).body.text()],
  ["stream", (url) => undici.stream(url, { method: "GET" }, () => new WritableNowhere())],
  ["pipeline", pipeline],
  ["Client", (url) => using(new undici.Client(new URL(url).origin), url)],
  ["Pool", (url) => using(new undici.Pool(new URL(url).origin, { connections: 1 }), url)],
  ["Agent", async (url) => (await undici.request(url, { dispatcher: new undici.Agent() })).body.text()],
  [
    "RetryAgent",
    async (url) => (await undici.request(url, { dispatcher: new undici.RetryAgent(new undici.Agent()) })).body.text(),
  ],
];

class WritableNowhere extends Writable {
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

function pipeline(url: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const duplex = undici.pipeline(url, { method: "GET" }, ({ body }) => body);
    duplex.on("error", reject).on("end", resolve).resume().end();
  });
}

async function using(dispatcher: Undici.Client | Undici.Pool, url: string): Promise<unknown> {
  try {
    return await (await dispatcher.request({ path: new URL(url).pathname, method: "GET" })).body.text();
  } finally {
    await dispatcher.close();
  }
}

test.each(CALLS)("undici %s: one record; denied, no connection", async (_, call) => {
  await call(`${api.url}/x`);
  expect(recorder.take()).toEqual([`READ success ${api.url}/x`]);
  const host = await countConnections();
  await expect(call(`${host.url}/denied`)).rejects.toMatchObject({ code: "EAUDITDENIED" });
  expect(recorder.take()).toEqual([`READ failure policy_denied ${host.url}/denied`]);
  expect(await host.count()).toBe(0);
  host.close();
});

test("requests that wait for a place in a pool belong to who made them", async () => {
  const pool = new undici.Pool(api.url, { connections: 1, pipelining: 1 });
  await Promise.all(
    Array.from({ length: 9 }, (_, i) =>
      withAgent({ id: `agent:${i % 3}` }, async () =>
        (await pool.request({ path: `/of-${i % 3}`, method: "GET" })).body.text(),
      ),
    ),
  );
  await pool.close();
  const lines = recorder.takeWithActor();
  expect(lines).toHaveLength(9);
  for (const line of lines) expect(line).toMatch(/^agent:(\d) READ success .*\/of-\1$/);
});

test("a request that was never sent has a record that says so", async () => {
  const client = new undici.Client(api.url);
  await client.close();
  await expect(client.request({ path: "/x", method: "GET" })).rejects.toThrow(/closed|destroyed/);
  expect(recorder.take()).toEqual([`READ failure UND_ERR_NOT_SENT ${api.url}/x`]);
});

test("fetch looks as before, and is again what it was when uninstalled", () => {
  expect([fetch.name, fetch.length]).toEqual(["fetch", 1]);
  const patched = fetch;
  recorder[Symbol.dispose]();
  expect(fetch).not.toBe(patched);
});
