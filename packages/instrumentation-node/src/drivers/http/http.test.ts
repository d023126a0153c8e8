import http, { get as namedGet } from "node:http";
import * as namespace from "node:http";
import https from "node:https";
import { once } from "node:events";
import { createServer as createNetServer, type Server } from "node:net";
import { join } from "node:path";
import { inherits } from "node:util";

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type HttpApi, startHttpApi, tempDir } from "../../../../../test/support/index.ts";
import { withAgent } from "../../identity.ts";
import { type Recorder, record } from "../../testing/recorder.ts";
import { isFunction, property } from "../../unknown.ts";
import { httpDriver } from "./driver.ts";

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
let tls: HttpApi;
let recorder: Recorder;
const original = { request: http.request, ClientRequest: http.ClientRequest };

beforeAll(async () => {
  api = await startHttpApi();
  tls = await startHttpApi({ tls: true });
});
afterAll(async () => {
  await api.close();
  await tls.close();
});
beforeEach(async () => {
  api.clear();
  recorder = await record([httpDriver], DENY);
});
afterEach(() => recorder[Symbol.dispose]());

function portOf(server: Server): number {
  return Number(property(server.address(), "port"));
}

/** Ends the request and reads its answer: the status, or the error's code. */
async function outcome(request: http.ClientRequest): Promise<number | string> {
  request.end();
  try {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once("response", resolve).once("error", reject);
    });
    response.resume();
    await once(response, "end");
    return response.statusCode ?? 0;
  } catch (error) {
    return String(property(error, "code"));
  }
}

const FORMS: readonly (readonly [string, (path: string) => http.ClientRequest])[] = [
  ["request(text)", (path) => http.request(api.url + path)],
  ["request(URL)", (path) => http.request(new URL(api.url + path))],
  ["request(options)", (path) => http.request({ host: "127.0.0.1", port: api.port, path })],
  ["request(URL, options)", (path) => http.request(new URL(api.url), { path })],
  ["request(text, callback)", (path) => http.request(api.url + path, () => {})],
  [
    "request(text, options, callback)",
    (path) => http.request("http://nowhere.invalid", { hostname: "127.0.0.1", port: api.port, path }, () => {}),
  ],
  ["get", (path) => http.get(api.url + path)],
  ["named import", (path) => namedGet(api.url + path)],
  ["namespace import", (path) => namespace.request(api.url + path)],
  ["new ClientRequest", (path) => new http.ClientRequest(api.url + path)],
  [
    "createConnection",
    (path) => http.request({ port: api.port, path, createConnection: (options) => createConnection(options) }),
  ],
  ["agent: false", (path) => http.request({ port: api.port, host: "127.0.0.1", path, agent: false })],
];

function createConnection(options: object): ReturnType<http.Agent["createConnection"]> {
  return http.globalAgent.createConnection({ ...options, host: "127.0.0.1" });
}

test.each(FORMS)("%s: one record", async (_, make) => {
  expect(await outcome(make("/x?secret=1"))).toBe(200);
  const [line, ...more] = recorder.take();
  expect(line).toMatch(new RegExp(`^READ success http://(127\\.0\\.0\\.1|localhost):${api.port}/x$`));
  expect(more).toEqual([]);
});

test.each(FORMS)("%s denied: nothing leaves, the error arrives as an event", async (_, make) => {
  const before = api.requests.length;
  const request = make("/denied");
  const order: string[] = [];
  request.on("error", () => order.push("error"));
  request.on("close", () => order.push("close"));
  order.push("returned");
  request.write?.("");
  expect(await outcome(request)).toBe("EAUDITDENIED");
  await new Promise(setImmediate);
  expect(order).toEqual(["returned", "error", "close"]);
  expect(api.requests).toHaveLength(before);
  expect(recorder.take()).toEqual([expect.stringMatching(/^READ failure policy_denied http:.*\/denied$/)]);
});

test("a denied request opens no connection", async () => {
  let connections = 0;
  const server = createNetServer(() => connections++).listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  for (const module of [http, https]) {
    const request = module.request({ host: "127.0.0.1", port, path: "/denied", method: "POST" });
    request.write("body");
    expect(await outcome(request)).toBe("EAUDITDENIED");
  }
  expect(connections).toBe(0);
  server.close();
});

test("https", async () => {
  expect(await outcome(https.get(`${tls.url}/x`, { ca: tls.ca }))).toBe(200);
  expect(
    await outcome(https.request({ host: "localhost", port: tls.port, path: "/y", method: "PUT", ca: tls.ca })),
  ).toBe(200);
  expect(await outcome(https.get({ host: "127.0.0.1", port: tls.port, path: "/denied", ca: tls.ca }))).toBe(
    "EAUDITDENIED",
  );
  expect(recorder.take()).toEqual([
    `READ success https://127.0.0.1:${tls.port}/x`,
    `UPDATE success https://localhost:${tls.port}/y`,
    `READ failure policy_denied https://127.0.0.1:${tls.port}/denied`,
  ]);
});

test("failures: status, refused, aborted, destroyed, timed out, invalid", async () => {
  api.on("GET /404", { status: 404 });
  api.on("GET /slow", { delayMs: 10_000 });
  api.on("GET /cut", { destroy: true });
  await outcome(http.get(`${api.url}/404`));
  await outcome(http.get(`${api.url}/cut`));
  const closed = createNetServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const port = portOf(closed);
  closed.close();
  await once(closed, "close");
  await outcome(http.get(`http://127.0.0.1:${port}/refused`));
  await outcome(http.get(`${api.url}/slow`, { signal: AbortSignal.timeout(30) }));
  const destroyed = http.get(`${api.url}/slow`);
  setTimeout(() => destroyed.destroy(), 30);
  await outcome(destroyed);
  const aborted = http.get(`${api.url}/slow`);
  aborted.abort();
  await once(aborted, "close");
  expect(() => http.request({ host: "h", path: "/with space" })).toThrow(/unescaped/);
  expect(() => http.request("not a url")).toThrow(/Invalid URL/);
  expect(recorder.take().map((line) => line.replace(/http:.*\//, ""))).toEqual([
    "READ failure 404 404",
    "READ failure ECONNRESET cut",
    "READ failure ECONNREFUSED refused",
    "READ failure ABORT_ERR slow",
    "READ failure ECONNRESET slow",
    "READ failure ABORT_ERR slow",
  ]);
});

test("attributes, without query and credentials", async () => {
  await outcome(http.request(`http://user:secret@127.0.0.1:${api.port}/x?token=secret`, { method: "post" }));
  const [attributes] = recorder.takeAttributes();
  expect(attributes).toMatchObject({
    "audit.event.name": "http.request",
    "audit.action": "WRITE",
    "http.request.method": "POST",
    "http.response.status_code": 200,
    "url.full": `http://127.0.0.1:${api.port}/x`,
    "server.address": "127.0.0.1",
    "server.port": api.port,
  });
  expect(JSON.stringify(attributes)).not.toMatch(/secret|user/);
});

test("unix socket", async () => {
  const path = join(tempDir("http"), "s");
  const server = http.createServer((_, response) => response.end()).listen(path);
  await once(server, "listening");
  expect(await outcome(http.get({ socketPath: path, path: "/info" }))).toBe(200);
  expect(recorder.take()).toEqual([`READ success unix:${path}`]);
  server.close();
});

test("upgrade and CONNECT end with their answer", async () => {
  const server = http.createServer();
  server.on("upgrade", (_, socket) =>
    socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
  );
  server.on("connect", (_, socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = portOf(server);
  const upgrade = http.get({ host: "127.0.0.1", port, headers: { connection: "Upgrade", upgrade: "x" } });
  await new Promise<void>((resolve) => upgrade.once("upgrade", (_, socket) => resolve(void socket.destroy())));
  const connect = http.request({ host: "127.0.0.1", port, method: "CONNECT", path: "far.example:443" }).end();
  await new Promise<void>((resolve) => connect.once("connect", (_, socket) => resolve(void socket.destroy())));
  await new Promise(setImmediate);
  expect(recorder.take()).toEqual([`READ success http://127.0.0.1:${port}/`, "WRITE success https://far.example/"]);
  server.close();
});

test("nobody reads the response: it is discarded as without us", async () => {
  const request = http.get(`${api.url}/x`);
  await once(request, "close");
  expect(recorder.take()).toHaveLength(1);
});

test("adds no listener that would keep an error or a response from its default", async () => {
  const request = http.get(`${api.url}/denied`);
  expect(request.listenerCount("error")).toBe(0);
  expect(request.listenerCount("response")).toBe(0);
  const error = new Promise((resolve) => request.on("error", resolve));
  expect(await error).toMatchObject({ code: "EAUDITDENIED", rule: "no-secret" });
});

test("each request belongs to the agent that made it, also on a full keep-alive pool", async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  await Promise.all(
    Array.from({ length: 9 }, (_, i) =>
      withAgent({ id: `agent:${i % 3}` }, () => outcome(http.get(`${api.url}/of-${i % 3}`, { agent }))),
    ),
  );
  agent.destroy();
  const lines = recorder.takeWithActor();
  expect(lines).toHaveLength(9);
  for (const line of lines) expect(line).toMatch(/^agent:(\d) READ success .*\/of-\1$/);
});

/** A subclass from before classes, as some packages still have. */
function Old(this: unknown, url: string): void {
  const constructor: unknown = http.ClientRequest;
  if (isFunction(constructor)) Reflect.apply(constructor, this, [url]);
}
inherits(Old, original.ClientRequest);

test("a subclass of the old kind", async () => {
  const make = (path: string): http.ClientRequest => Reflect.construct(Old, [api.url + path]);
  expect(await outcome(make("/old"))).toBe(200);
  expect(await outcome(make("/denied"))).toBe("EAUDITDENIED");
  expect(recorder.take()).toEqual([`READ success ${api.url}/old`, `READ failure policy_denied ${api.url}/denied`]);
});

test("the functions look as before, and are again what they were when uninstalled", () => {
  expect([http.request.name, http.request.length]).toEqual([original.request.name, original.request.length]);
  const request = http.get(`${api.url}/x`).on("error", () => {});
  expect(request).toBeInstanceOf(http.ClientRequest);
  expect(request.constructor).toBe(http.ClientRequest);
  request.destroy();
  class Mine extends http.ClientRequest {}
  const mine = new Mine(`${api.url}/mine`).on("error", () => {});
  expect(mine).toBeInstanceOf(Mine);
  mine.destroy();
  recorder[Symbol.dispose]();
  expect(http.request).toBe(original.request);
  expect(http.ClientRequest).toBe(original.ClientRequest);
  expect(request.constructor).toBe(http.ClientRequest);
});
