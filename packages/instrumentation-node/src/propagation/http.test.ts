import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";

import { makeApp, text } from "../testing/run-app.ts";

const MODULES = fileURLToPath(new URL("../../../../node_modules", import.meta.url));

/** What arrived: path and `baggage`, with our entries by their values. */
const seen: Record<string, string | undefined> = {};
let listed: Server;
let other: Server;

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

beforeAll(async () => {
  const serve = (): Server =>
    createServer((request, response) => {
      const name = `${request.method} ${request.url}`;
      seen[name] =
        typeof request.headers["baggage"] === "string" ? decodeURIComponent(request.headers["baggage"]) : undefined;
      if (request.url?.startsWith("/away") === true) {
        response.writeHead(307, { location: `http://127.0.0.1:${portOf(other)}/arrived${request.url}` }).end();
      } else {
        response.end("ok");
      }
    }).listen(0, "127.0.0.1");
  [listed, other] = [serve(), serve()];
  await Promise.all([once(listed, "listening"), once(other, "listening")]);
});
beforeEach(() => {
  for (const name of Object.keys(seen)) delete seen[name];
});
afterAll(() => {
  listed.close();
  other.close();
});

/** Ways to send a request: to a URL, with headers. */
const WAYS = `
  import http from "node:http"; import { once } from "node:events"; import { createRequire } from "node:module";
  import { withAgent, withToolCall } from "$INDEX";
  const require = createRequire("$DIR/");
  const axios = require("axios"); const undici6 = require("undici6"); const undici7 = require("undici7");
  // Not for Node 20.
  const undici = process.versions.node < "22" ? undici7 : require("undici");
  const { default: got } = await import("got");
  const { default: nodeFetch } = await import("node-fetch");
  export const ways = {
    request: async (url, headers) => {
      const request = http.request(url, { headers });
      const before = JSON.stringify(request.getHeaders());
      const [response] = await Promise.all([once(request, "response"), request.end()]);
      response[0].resume();
      if (JSON.stringify(request.getHeaders()) !== before) console.log("the request was changed");
    },
    fetch: (url, headers) => fetch(url, { headers }).then((response) => response.text()),
    undici: (url, headers) => undici.request(url, { headers }).then((response) => response.body.text()),
    undici6: (url, headers) => undici6.request(url, { headers }).then((response) => response.body.text()),
    undici7: (url, headers) => undici7.request(url, { headers }).then((response) => response.body.text()),
    axios: (url, headers) => axios.get(url, { headers }),
    got: (url, headers) => got(url, { headers }),
    nodeFetch: (url, headers) => nodeFetch(url, { headers }).then((response) => response.text()),
  };`;

const REDIRECTED = ["fetch", "axios", "got", "nodeFetch"];

test("listed hosts are told who acts, by every client; others are not, not even by a redirect", async () => {
  await using app = await makeApp({
    "client.mjs": `${WAYS}
      const listed = "http://127.0.0.1:${portOf(listed)}", other = "http://127.0.0.1:${portOf(other)}";
      await withAgent({ id: "agent:a", onBehalfOf: "user:4711" }, async () => {
        for (const [name, send] of Object.entries(ways)) {
          await send(listed + "/" + name);
          await send(listed + "/" + name + "/own", { Baggage: "x=1;p, y=2" });
          await send(other + "/" + name + "/other", { baggage: "x=1" });
          await send(other + "/" + name + "/passed-on", { baggage: "audit.actor.id=agent%3Ab,x=1,audit.cause.record.id=1" });
          await send(other + "/" + name + "/nothing-left", { baggage: "audit.actor.id=agent%3Ab" });
          if (${JSON.stringify(REDIRECTED)}.includes(name)) await send(listed + "/away/" + name);
        }
      });`,
  });
  symlinkSync(MODULES, join(app.dir, "node_modules"));
  const run = await app.run({ env: { OTEL_AUDIT_PROPAGATE_TO: `127.0.0.1:${portOf(listed)}` } });
  expect(run).toMatchObject({ code: 0, stdout: "" });
  const recordOf = (path: string): string => {
    const url = `http://127.0.0.1:${portOf(listed)}${path}`;
    return (
      run.actions
        .filter((span) => text(span, "audit.target.id") === url)
        .map((span) => text(span, "audit.record.id"))[0] ?? ""
    );
  };
  const told = (path: string): string =>
    `audit.cause.record.id=${recordOf(path)},audit.actor.id=agent:a,audit.actor.type=agent,` +
    `audit.on_behalf_of.id=user:4711,audit.on_behalf_of.type=user`;
  const names = ["request", "fetch", "undici", "undici6", "undici7", "axios", "got", "nodeFetch"];
  for (const name of names) {
    expect(recordOf(`/${name}`)).not.toBe("");
    expect(seen).toMatchObject({
      [`GET /${name}`]: told(`/${name}`),
      [`GET /${name}/own`]: `x=1;p, y=2,${told(`/${name}/own`)}`,
      [`GET /${name}/other`]: "x=1",
      [`GET /${name}/passed-on`]: "x=1",
      [`GET /${name}/nothing-left`]: undefined,
    });
  }
  for (const name of REDIRECTED) {
    expect(seen).toMatchObject({
      [`GET /away/${name}`]: told(`/away/${name}`),
      [`GET /arrived/away/${name}`]: undefined,
    });
    expect(Object.keys(seen)).toContain(`GET /arrived/away/${name}`);
  }
});

const SERVER = `
  import http from "node:http"; import { readFileSync } from "node:fs"; import { readFile } from "node:fs/promises";
  const server = http.createServer((request, response) => {
    if (request.url === "/events") {
      request.on("data", () => {});
      request.on("end", () => { readFileSync("$WORK/f"); response.end(); });
    } else (async () => {
      for await (const chunk of request);
      await readFile("$WORK/f");
      setTimeout(() => response.end(readFileSync("$WORK/f")), 1);
    })();
  });
  server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));
  process.on("SIGTERM", () => { server.closeAllConnections(); server.close(); });`;

test.each([
  ["loopback", undefined, "agent:a [] claimed agent:a"],
  ["loopback", "agent:own", "agent:own [agent:a] claimed agent:a"],
  [undefined, undefined, " [] claimed "],
  ["10.0.0.0/8", "agent:own", "agent:own [] claimed "],
])("a server that accepts from %s and is %s acts as %j", async (from, own, expected) => {
  await using app = await makeApp({
    "server.mjs": SERVER,
    "client.mjs": `import http from "node:http"; import { once } from "node:events"; import { withAgent } from "$INDEX";
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const send = async (path, method) => {
        const request = http.request({ port: process.env.PORT, host: "127.0.0.1", path, method, agent });
        const [[response]] = await Promise.all([once(request, "response"), request.end(method === "POST" ? "body" : undefined)]);
        for await (const chunk of response);
      };
      await withAgent({ id: "agent:a" }, async () => { await send("/", "POST"); await send("/events", "POST"); });
      // The same connection, and nobody: nothing of the request before is left.
      await send("/", "GET"); await send("/events", "GET");
      agent.destroy();`,
    "work/f": "",
  });
  await using server = await app.start({
    main: "server.mjs",
    env: { OTEL_AUDIT_ACCEPT_FROM: from, OTEL_AUDIT_AGENT_ID: own },
  });
  const port = (await server.waitForLine(/^port /)).slice("port ".length);
  const client = await app.run({ main: "client.mjs", env: { PORT: port, OTEL_AUDIT_PROPAGATE_TO: "127.0.0.1" } });
  expect(client.code).toBe(0);
  await server.kill();
  const actions = app.sink.spans;
  const of = ({ attributes }: (typeof actions)[number], key: string): string => {
    const value = attributes?.[key];
    return typeof value === "string"
      ? value
      : Array.isArray(value)
        ? value.filter((id) => typeof id === "string").join()
        : "";
  };
  const requests = actions
    .filter((span) => text(span, "audit.event.name") === "http.request")
    .map((span) => text(span, "audit.record.id"));
  const reads = actions
    .filter((span) => text(span, "audit.event.name") === "file.read")
    .map((span) => {
      const who = `${of(span, "audit.actor.id")} [${of(span, "audit.actor.chain")}] claimed ${of(span, "audit.actor.claimed")}`;
      return `${requests.indexOf(text(span, "audit.cause.record.id"))} ${who}`;
    });
  const isTaken = from === "loopback";
  const nobody = `-1 ${own ?? ""} [] claimed `;
  const first = isTaken ? expected : nobody.slice(3);
  expect(reads.toSorted()).toEqual(
    [
      `${isTaken ? 0 : -1} ${first}`,
      `${isTaken ? 0 : -1} ${first}`,
      `${isTaken ? 1 : -1} ${first}`,
      ...(isTaken ? ["2", "2", "3"].map((at) => `${at} ${own ?? ""} [] claimed `) : [nobody, nobody, nobody]),
    ].toSorted(),
  );
});
