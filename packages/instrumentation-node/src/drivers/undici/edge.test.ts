import { once } from "node:events";
import http from "node:http";
import net, { type Server } from "node:net";
import { join } from "node:path";

import type * as Undici from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type HttpApi, startHttpApi, tempDir } from "../../../../../test/support/index.ts";
import { withAgent } from "../../identity.ts";
import { undiciCopy } from "../../testing/undici-copies.ts";
import { type Recorder, record } from "../../testing/recorder.ts";
import { property } from "../../unknown.ts";
import { httpDriver } from "../http/driver.ts";
import { undiciDriver } from "./driver.ts";

// Proxies, unix sockets, upgrades, mocks and options that change, in all versions.

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
let proxy: Server;
let proxyUrl: string;
/** What the proxy was asked for. */
const proxied: string[] = [];
const versions: [string, typeof Undici][] = [];

beforeAll(async () => {
  api = await startHttpApi();
  tls = await startHttpApi({ tls: true });
  recorder = await record([httpDriver, undiciDriver], DENY);
  for (const name of ["undici", "undici7", "undici6"] as const) versions.push([name, undiciCopy(name)]);
  const server = http.createServer();
  server.on("connect", (request, socket) => {
    proxied.push(`CONNECT ${request.url}`);
    const [host, port] = String(request.url).split(":");
    const onward = net.connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [socket, onward]) end.on("error", () => {});
  });
  server.on("request", (request, response) => {
    proxied.push(`${request.method} ${request.url}`);
    response.end("proxied");
  });
  proxy = server.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  proxyUrl = `http://127.0.0.1:${String(property(proxy.address(), "port"))}`;
});
afterAll(async () => {
  recorder[Symbol.dispose]();
  if (proxy instanceof http.Server) proxy.closeAllConnections();
  proxy.close();
  await api.close();
  await tls.close();
});
beforeEach(() => {
  proxied.length = 0;
  api.clear();
});
afterEach(() => recorder.take());

const VERSIONS = ["undici", "undici7", "undici6"];
function version(name: string): typeof Undici {
  const found = versions.find(([each]) => each === name);
  if (found === undefined) throw new Error(name);
  return found[1];
}

async function get(copy: typeof Undici, url: string, dispatcher: Undici.Dispatcher): Promise<unknown> {
  try {
    const { statusCode, body } = await copy.request(url, { dispatcher });
    await body.text();
    return statusCode;
  } catch (error) {
    return property(error, "code");
  }
}

const targets = (): unknown[] =>
  recorder.takeAttributes().map((attributes) => [attributes["audit.target.id"], attributes["audit.target.read_ids"]]);

test.each(VERSIONS)(
  "%s: a request through a proxy is one record, of the origin, with the proxy beside it",
  async (name) => {
    const copy = version(name);
    const agent = new copy.ProxyAgent({ uri: proxyUrl, requestTls: { ca: tls.ca } });
    const env = new copy.EnvHttpProxyAgent({
      httpProxy: proxyUrl,
      httpsProxy: proxyUrl,
      noProxy: "",
      requestTls: { ca: tls.ca },
    });
    for (const dispatcher of [agent, env]) {
      expect(await get(copy, `${tls.url}/x`, dispatcher)).toBe(200);
      expect(proxied.splice(0)).toEqual([`CONNECT 127.0.0.1:${tls.port}`]);
      expect(targets()).toEqual([[`${tls.url}/x`, [`${tls.url}/x`, `${proxyUrl}/`]]]);
      expect(await get(copy, `${api.url}/y`, dispatcher)).toBe(200);
      expect(proxied.splice(0)).toHaveLength(1);
      expect(targets()).toEqual([[`${api.url}/y`, [`${api.url}/y`, `${proxyUrl}/`]]]);
      // A tunnel to this host is there already, and one to the other is not opened.
      expect(await get(copy, `${tls.url}/denied`, dispatcher)).toBe("EAUDITDENIED");
      expect(await get(copy, "https://elsewhere.invalid/denied", dispatcher)).toBe("EAUDITDENIED");
      expect(proxied).toEqual([]);
      expect(recorder.take()).toEqual([
        `READ failure policy_denied ${tls.url}/denied`,
        "READ failure policy_denied https://elsewhere.invalid/denied",
      ]);
      await dispatcher.close();
    }
  },
);

test.each(VERSIONS)("%s: unix sockets", async (name) => {
  const copy = version(name);
  const socketPath = join(tempDir("undici"), "s");
  const server = http.createServer((_, response) => response.end()).listen(socketPath);
  await once(server, "listening");
  const dispatchers = [
    new copy.Client("http://localhost", { socketPath }),
    new copy.Client("http://localhost", { connect: { socketPath } }),
    new copy.Pool("http://localhost", { socketPath }),
    new copy.Agent({ connect: { socketPath } }),
  ];
  for (const dispatcher of dispatchers) {
    expect(await get(copy, "http://localhost/info", dispatcher)).toBe(200);
    expect(await get(copy, "http://localhost/denied", dispatcher)).toBe("EAUDITDENIED");
    await dispatcher.close();
  }
  expect(recorder.take()).toEqual(
    dispatchers.flatMap(() => [`READ success unix:${socketPath}`, `READ failure policy_denied unix:${socketPath}`]),
  );
  server.close();
});

test.each(VERSIONS)("%s: upgrade and connect end with their answer", async (name) => {
  const copy = version(name);
  const server = http.createServer();
  server.on("upgrade", (_, socket) =>
    socket.end("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
  );
  server.on("connect", (_, socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${String(property(server.address(), "port"))}`;
  const dispatcher = new copy.Client(url);
  (await copy.upgrade(`${url}/up`, { dispatcher, protocol: "x" })).socket.destroy();
  (await copy.connect(`${url}/`, { dispatcher })).socket.destroy();
  expect(recorder.take()).toEqual([`READ success ${url}/up`, expect.stringMatching(/^WRITE success http/)]);
  await expect(copy.upgrade(`${url}/denied`, { dispatcher })).rejects.toMatchObject({ code: "EAUDITDENIED" });
  expect(recorder.take()).toEqual([`READ failure policy_denied ${url}/denied`]);
  await dispatcher.destroy();
  server.close();
});

test.each(VERSIONS)("%s: what a mock answers is no action; what it lets through is one", async (name) => {
  const copy = version(name);
  const mock = new copy.MockAgent();
  mock.enableNetConnect(/127/);
  mock.get("http://mocked.example").intercept({ path: "/x" }).reply(200, "mocked");
  expect(await get(copy, "http://mocked.example/x", mock)).toBe(200);
  expect(recorder.take()).toEqual([]);
  expect(await get(copy, `${api.url}/x`, mock)).toBe(200);
  expect(recorder.take()).toEqual([`READ success ${api.url}/x`]);
  await mock.close();
});

test.each(VERSIONS)("%s: every redirect and every retry is a request", async (name) => {
  const copy = version(name);
  api.on("GET /old", { status: 302, headers: { location: "/denied" } });
  api.failNext({ status: 503 });
  const retry = new copy.RetryAgent(new copy.Agent(), { maxRetries: 1, minTimeout: 1 });
  expect(await get(copy, `${api.url}/x`, retry)).toBe(200);
  expect(recorder.take()).toEqual([`READ failure 503 ${api.url}/x`, `READ success ${api.url}/x`]);
  const redirect = new copy.Agent().compose(copy.interceptors.redirect({ maxRedirections: 2 }));
  expect(await get(copy, `${api.url}/old`, redirect)).toBe("EAUDITDENIED");
  expect(recorder.take()).toEqual([`READ success ${api.url}/old`, `READ failure policy_denied ${api.url}/denied`]);
  await retry.close();
});

/** A path that is another one when it is read for the third time. */
const tricky = (then: string): Undici.Dispatcher.RequestOptions => {
  let asked = 0;
  return Object.defineProperty({ method: "GET" as const, path: "" }, "path", {
    enumerable: true,
    get: () => (asked++ < 2 ? "/harmless" : then),
  });
};

test.each(VERSIONS)("%s: options that answer differently each time: what is sent is judged", async (name) => {
  const copy = version(name);
  const client = new copy.Client(api.url);
  const outcome = async (path: string): Promise<unknown> => {
    try {
      return (await client.request(tricky(path))).statusCode;
    } catch (error) {
      return property(error, "code");
    }
  };
  for (const path of ["/denied", "/other"]) await outcome(path);
  await client.destroy();
  const sent = api.requests.map((request) => request.path);
  expect(sent).not.toContain("/denied");
  const recorded = recorder.take().filter((line) => line.includes("success"));
  expect(recorded).toEqual(sent.map((path) => `READ success ${api.url}${path}`));
});

test.each(VERSIONS)("%s: requests that wait in a pool belong to who made them", async (name) => {
  const copy = version(name);
  const pool = new copy.Pool(api.url, { connections: 1, pipelining: 1 });
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
