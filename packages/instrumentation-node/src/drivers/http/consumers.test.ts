import { once } from "node:events";
import http from "node:http";
import { createServer } from "node:net";
import { pipeline as pipe, Writable } from "node:stream";

import axios from "axios";
import { got } from "got";
import nodeFetch from "node-fetch";
import type * as Undici from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type HttpApi, startHttpApi } from "../../../../../test/support/index.ts";
import { undiciCopy } from "../../testing/undici-copies.ts";
import { type Recorder, record } from "../../testing/recorder.ts";
import { property } from "../../unknown.ts";
import { undiciDriver } from "../undici/driver.ts";
import { httpDriver } from "./driver.ts";

// What makes requests, and what can become of one: always exactly one record.

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

beforeAll(async () => {
  api = await startHttpApi({
    routes: { "GET /404": { status: 404 }, "GET /slow": { delayMs: 10_000 }, "GET /cut": { destroy: true } },
  });
  // Loaded before the audit starts, as applications may have them.
  recorder = await record([httpDriver, undiciDriver], DENY);
});
afterAll(async () => {
  recorder[Symbol.dispose]();
  await api.close();
});
beforeEach(() => api.clear());
afterEach(() => recorder.take());

interface How {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}
/** Makes a request and reads all of the answer. */
type Consumer = (url: string, how: How) => Promise<unknown>;

function byHttp(url: string, { signal, timeoutMs }: How): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { ...(signal && { signal }), ...(timeoutMs && { timeout: timeoutMs }) });
    request.on("timeout", () => request.destroy());
    request.on("error", reject).on("response", (response) => response.resume().on("end", resolve));
  });
}

function signalOf({ signal, timeoutMs }: How): { signal?: AbortSignal } {
  const all = signal ?? (timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs));
  return all === undefined ? {} : { signal: all };
}

class Nowhere extends Writable {
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

const timeouts = ({ timeoutMs }: How) => (timeoutMs === undefined ? {} : { headersTimeout: timeoutMs });

function ofUndici(name: string, copy: typeof Undici): (readonly [string, Consumer])[] {
  const request = (url: string, how: How, dispatcher?: Undici.Dispatcher) =>
    copy
      .request(url, { ...(dispatcher && { dispatcher }), ...signalOf(how), ...timeouts(how) })
      .then(({ body }) => body.text());
  const by =
    (make: (origin: string) => Undici.Dispatcher): Consumer =>
    async (url, how) => {
      const dispatcher = make(new URL(url).origin);
      try {
        return await request(url, how, dispatcher);
      } finally {
        await dispatcher.destroy();
      }
    };
  return [
    [`${name} fetch`, async (url, how) => (await copy.fetch(url, signalOf(how))).text()],
    [`${name} request`, (url, how) => request(url, how)],
    [`${name} stream`, (url, how) => copy.stream(url, { method: "GET", ...signalOf(how) }, () => new Nowhere())],
    [
      `${name} pipeline`,
      (url, how) =>
        new Promise((resolve, reject) => {
          const duplex = copy.pipeline(url, { method: "GET", ...signalOf(how) }, ({ body }) => body);
          pipe(duplex.end(), new Nowhere(), (error) => (error ? reject(error) : resolve(undefined)));
        }),
    ],
    [`${name} Client`, by((origin) => new copy.Client(origin))],
    [`${name} Pool`, by((origin) => new copy.Pool(origin, { connections: 1 }))],
    [`${name} BalancedPool`, by((origin) => new copy.BalancedPool(origin))],
    [`${name} Agent`, by(() => new copy.Agent())],
    [`${name} RetryAgent`, by(() => new copy.RetryAgent(new copy.Agent(), { maxRetries: 0 }))],
    [
      `${name} EnvHttpProxyAgent without proxy`,
      by(() => new copy.EnvHttpProxyAgent({ httpProxy: "", httpsProxy: "" })),
    ],
    [`${name} interceptors`, by(() => new copy.Agent().compose(copy.interceptors.redirect({ maxRedirections: 3 })))],
  ];
}

const early = globalThis.fetch;
const CONSUMERS: readonly (readonly [string, Consumer])[] = [
  ["http", byHttp],
  ["fetch, taken early", async (url, how) => (await early(url, signalOf(how))).text()],
  ["fetch", async (url, how) => (await fetch(url, signalOf(how))).text()],
  ["fetch(Request)", async (url, how) => (await fetch(new Request(url, signalOf(how)))).text()],
  ["axios", (url, { signal, timeoutMs }) => axios.get(url, { ...(signal && { signal }), timeout: timeoutMs ?? 0 })],
  [
    "got",
    (url, { signal, timeoutMs }) =>
      got(url, {
        retry: { limit: 0 },
        ...(signal && { signal }),
        ...(timeoutMs && { timeout: { request: timeoutMs } }),
      }).text(),
  ],
  ["node-fetch", async (url, how) => (await nodeFetch(url, signalOf(how))).text()],
  ...ofUndici("undici 8", undiciCopy("undici")),
  ...ofUndici("undici 7", undiciCopy("undici7")),
  ...ofUndici("undici 6", undiciCopy("undici6")),
  // Under another name than its own, and without a package.json, it is not known for undici.
  ...ofUndici("unknown undici 7", undiciCopy("undici7", "unknown")),
];

async function codes(consumer: Consumer, url: string, how: How = {}): Promise<string[]> {
  try {
    await consumer(url, how);
    return [];
  } catch (error) {
    const found: string[] = [];
    for (let at: unknown = error; at !== undefined && at !== null; at = property(at, "cause")) {
      found.push(String(property(at, "code")));
    }
    return found;
  }
}

/** The records, once there is one: some consumers hear of a failure before Node has told everybody. */
async function records(): Promise<string[]> {
  for (let turn = 0; turn < 1000 && recorder.spans.length === 0; turn++) await new Promise(setImmediate);
  await new Promise(setImmediate);
  return recorder.take();
}

test.each(CONSUMERS)("%s: one record whatever becomes of it", async (_, consumer) => {
  await codes(consumer, `${api.url}/ok?secret=1`);
  expect(await records()).toEqual([`READ success ${api.url}/ok`]);
  await codes(consumer, `${api.url}/404`);
  expect(await records()).toEqual([`READ failure 404 ${api.url}/404`]);
  expect(await codes(consumer, `${api.url}/cut`)).not.toEqual([]);
  expect(await records()).toEqual([expect.stringMatching(/^READ failure (?:ECONNRESET|UND_ERR_SOCKET) .*\/cut$/)]);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 30);
  expect(await codes(consumer, `${api.url}/slow`, { signal: abort.signal })).not.toEqual([]);
  expect(await records()).toEqual([
    expect.stringMatching(/^READ failure (?:ABORT_ERR|AbortError|ECONNRESET|UND_ERR_ABORTED|ERR_CANCELED) .*\/slow$/),
  ]);
  expect(await codes(consumer, `${api.url}/slow`, { timeoutMs: 30 })).not.toEqual([]);
  expect(await records()).toEqual([
    expect.stringMatching(
      /^READ failure (?:ABORT_ERR|AbortError|TimeoutError|ECONNRESET|ETIMEDOUT|ECONNABORTED|UND_ERR_[A-Z_]+) .*\/slow$/,
    ),
  ]);
  const closed = createServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const nobody = `http://127.0.0.1:${String(property(closed.address(), "port"))}`;
  closed.close();
  await once(closed, "close");
  expect(await codes(consumer, `${nobody}/x`)).toContain("ECONNREFUSED");
  expect(await records()).toEqual([`READ failure ECONNREFUSED ${nobody}/x`]);
});

test.each(CONSUMERS)("%s denied: the caller gets the denial, the server nothing", async (name, consumer) => {
  let connections = 0;
  let bytes = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("data", (data) => (bytes += data.length)).on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${String(property(server.address(), "port"))}/denied`;
  expect(await codes(consumer, url)).toContain("EAUDITDENIED");
  expect(await records()).toEqual([`READ failure policy_denied ${url}`]);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(bytes).toBe(0);
  // A copy that could not be patched is stopped when its request is made: it may have begun to connect.
  expect(connections).toBeLessThanOrEqual(/unknown/.test(name) ? 1 : 0);
  server.close();
});
