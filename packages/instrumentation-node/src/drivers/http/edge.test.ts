import { once } from "node:events";
import http, { type ClientRequest } from "node:http";
import net, { createServer, type Socket } from "node:net";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type HttpApi, startHttpApi, tempDir } from "../../../../../test/support/index.ts";
import { type Recorder, record } from "../../testing/recorder.ts";
import { property } from "../../unknown.ts";
import { httpDriver } from "./driver.ts";

// Ways to have a request look like another one than it is.

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
  api = await startHttpApi();
});
afterAll(() => api.close());
beforeEach(async () => {
  api.clear();
  recorder = await record([httpDriver], DENY);
});
afterEach(() => recorder[Symbol.dispose]());

async function outcome(request: ClientRequest): Promise<number | string> {
  request.end();
  try {
    const [response] = await once(request, "response");
    const { statusCode } = response;
    response.resume();
    await once(response, "end");
    return statusCode;
  } catch (error) {
    return String(property(error, "code"));
  }
}

const paths = (): string[] => api.requests.map(({ path }) => path);

test("a path that is changed before it is sent is judged as it is sent", async () => {
  const request = http.request(`${api.url}/harmless`);
  request.path = "/other?secret=1";
  expect(await outcome(request)).toBe(200);
  const refused = http.request(`${api.url}/harmless`);
  refused.path = "/denied";
  expect(await outcome(refused)).toBe("EAUDITDENIED");
  // With a connection already there.
  const late = http.request(`${api.url}/harmless`);
  const [socket] = await once(late, "socket");
  if (socket.connecting) await once(socket, "connect");
  late.path = "/denied";
  expect(await outcome(late)).toBe("EAUDITDENIED");
  expect(paths()).toEqual(["/other"]);
  expect(recorder.take()).toEqual([
    `READ failure changed_before_sent ${api.url}/harmless`,
    `READ success ${api.url}/other`,
    `READ failure changed_before_sent ${api.url}/harmless`,
    `READ failure policy_denied ${api.url}/denied`,
    `READ failure changed_before_sent ${api.url}/harmless`,
    `READ failure policy_denied ${api.url}/denied`,
  ]);
});

test("a method that is changed, and a path that only is written in another way", async () => {
  const request = http.request(`${api.url}/x`);
  request.method = "DELETE";
  expect(await outcome(request)).toBe(200);
  // As proxy agents do.
  const same = http.request(`${api.url}/x`);
  same.path = `${api.url}/x`;
  await outcome(same);
  expect(recorder.take()).toEqual([
    `READ failure changed_before_sent ${api.url}/x`,
    `DELETE success ${api.url}/x`,
    `READ success ${api.url}/x`,
  ]);
});

const HOSTS: readonly (readonly [string, () => ClientRequest])[] = [
  ["headers", () => http.request(`${api.url}/x`, { headers: { host: "Other.Example:80" } })],
  ["list of headers", () => http.request(`${api.url}/x`, { headers: ["Host", "other.example"] })],
  ["setHeader", () => http.request(`${api.url}/x`).setHeader("HOST", "other.example")],
];

test.each(HOSTS)("a Host that is not where the request goes stands beside the target: %s", async (_, make) => {
  expect(await outcome(make())).toBe(200);
  expect(recorder.takeAttributes()).toMatchObject([
    { "audit.target.id": `${api.url}/x`, "server.address": "127.0.0.1", "audit.http.host": "other.example" },
  ]);
  expect(api.requests[0]?.headers["host"]?.toString().toLowerCase()).toMatch(/^other\.example/);
});

test("a Host that says the same in other words is not recorded", async () => {
  await outcome(http.request(`${api.url}/x`, { headers: { host: `127.0.0.1:${api.port}` } }));
  await outcome(
    http.request({ host: "localhost", port: api.port, path: "/x", headers: { host: `LOCALHOST:${api.port}` } }),
  );
  for (const attributes of recorder.takeAttributes()) expect(attributes).not.toHaveProperty("audit.http.host");
});

test("the options of an agent are stronger than those of the request", async () => {
  const socketPath = join(tempDir("http"), "s");
  const server = http.createServer((_, response) => response.end()).listen(socketPath);
  await once(server, "listening");
  const toSocket = new http.Agent(untyped({ socketPath }));
  await outcome(http.get("http://harmless.invalid/x", { agent: toSocket }));
  const toApi = new http.Agent(untyped({ host: "127.0.0.1", port: api.port }));
  await outcome(http.get("http://harmless.invalid/x", { agent: toApi }));
  expect(recorder.take()).toEqual([`READ success unix:${socketPath}`, `READ success ${api.url}/x`]);
  server.close();
});

/** Options that the types do not have and Node heeds. */
function untyped(options: object): http.AgentOptions {
  return options;
}

test("options that answer differently each time: what is sent is recorded", async () => {
  let asked = 0;
  const options = {
    host: "127.0.0.1",
    port: api.port,
    get path() {
      return asked++ === 0 ? "/first" : "/later";
    },
  };
  expect(await outcome(http.request(options))).toBe(200);
  expect(recorder.take()).toEqual([`READ success ${api.url}${paths()[0]}`]);
});

const lookup: net.LookupFunction = (_, options, done) =>
  options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);

test("who looks the address up or connects himself: the address is recorded", async () => {
  const peer = { "network.peer.address": "127.0.0.1", "network.peer.port": api.port };
  await outcome(http.get({ host: "harmless.invalid", port: api.port, path: "/x", lookup }));
  const createConnection = (): Socket => net.connect(api.port, "127.0.0.1");
  await outcome(http.get({ host: "harmless.invalid", path: "/x", createConnection }));
  class Own extends http.Agent {
    override createConnection = createConnection;
  }
  await outcome(http.get("http://harmless.invalid/x", { agent: new Own() }));
  const port = api.port === 80 ? "" : `:${api.port}`;
  expect(recorder.takeAttributes()).toMatchObject([
    { "audit.target.id": `http://harmless.invalid${port}/x`, ...peer },
    { "audit.target.id": "http://harmless.invalid/x", ...peer },
    { "audit.target.id": "http://harmless.invalid/x", ...peer },
  ]);
});

/** An agent as there were before `http.Agent` was a class that others extend. */
class ForeignAgent {
  connections = 0;
  addRequest(request: ClientRequest): void {
    this.connections++;
    request.onSocket(net.connect(api.port, "127.0.0.1"));
  }
}

test("agents of another make: one record, denied before they connect, also when they are well hidden", async () => {
  const agent = new ForeignAgent();
  const plain = (path: string): object => ({ host: "127.0.0.1", port: api.port, path, agent });
  expect(await outcome(http.request(plain("/x")))).toBe(200);
  expect(await outcome(http.request(plain("/denied")))).toBe("EAUDITDENIED");
  expect(agent.connections).toBe(1);
  const hidden = (path: string): object => {
    let asked = 0;
    return Object.defineProperty({ host: "127.0.0.1", port: api.port, path }, "agent", {
      enumerable: true,
      get: () =>
        asked++ === 0
          ? undefined
          : new (class extends ForeignAgent {
              override addRequest = (request: ClientRequest): void =>
                request.onSocket(net.connect(api.port, "127.0.0.1"));
            })(),
    });
  };
  expect(await outcome(http.request(hidden("/y")))).toBe(200);
  expect(await outcome(http.request(hidden("/denied")))).toBe("EAUDITDENIED");
  expect(paths()).toEqual(["/x", "/y"]);
  expect(recorder.take().map((line) => line.replace(/http:.*\//, "/"))).toEqual([
    "READ success /x",
    "READ failure policy_denied /denied",
    "READ success /y",
    "READ failure policy_denied /denied",
  ]);
});

test.each([
  "http://user:secret@127.0.0.1:PORT/x?api_key=secret#secret",
  "http://[::ffff:127.0.0.1]:PORT/x?secret",
  "http://127.1:PORT/ä b/%2e%2e/x?secret",
])("%s: nothing secret, nothing thrown", async (url) => {
  expect(await outcome(http.request(url.replace("PORT", String(api.port))))).toEqual(expect.anything());
  const records = recorder.takeAttributes();
  expect(records).toHaveLength(1);
  expect(JSON.stringify(records)).not.toMatch(/secret|user/);
  expect(records[0]?.["audit.target.id"]).toBe(`${api.url}/x`);
});

test("very long paths and hosts are bounded", async () => {
  const request = http.get({
    host: "127.0.0.1",
    port: api.port,
    path: `/${"a".repeat(9000)}`,
    headers: { host: "h".repeat(5000) },
  });
  await outcome(request);
  for (const value of Object.values(recorder.takeAttributes()[0] ?? {})) {
    expect(JSON.stringify(value).length).toBeLessThan(4200);
  }
});

test("no listeners, so that nothing of what happens without one changes, and none that can be removed", async () => {
  const request = http.get({ host: "127.0.0.1", port: await closedPort() });
  expect(request.eventNames()).toEqual([]);
  request.removeAllListeners().on("error", () => {});
  await new Promise((resolve) => request.on("close", resolve));
  expect(recorder.take()).toHaveLength(1);
});

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const port = Number(property(server.address(), "port"));
  server.close();
  await once(server, "close");
  return port;
}
