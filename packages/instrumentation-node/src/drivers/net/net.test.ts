import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { makeCertificate } from "../../../../../test/support/certificate.ts";
import { freePort, type Postgres, startPostgres } from "../../../../../test/support/index.ts";
import { type App, makeApp, type Run, summary, text } from "../../testing/run-app.ts";

/** What a program can open a connection with, and the records that it must leave. `$N` are the ports of its servers. */
const CASES: readonly (readonly [name: string, code: string, records: readonly string[]])[] = [
  ["net, port and host", `opened(net.connect(ports.tcp, "127.0.0.1"))`, ["connection.open tcp://127.0.0.1:$tcp"]],
  [
    "net, options",
    `opened(net.createConnection({ port: ports.tcp, host: "localhost" }))`,
    ["connection.open tcp://localhost:$tcp"],
  ],
  ["net, host left out", `opened(net.connect(String(ports.tcp)))`, ["connection.open tcp://localhost:$tcp"]],
  [
    "net, new Socket",
    `opened(new net.Socket().connect({ port: ports.tcp, host: "::ffff:127.0.0.1" }))`,
    ["connection.open tcp://127.0.0.1:$tcp"],
  ],
  ["net, imported by name", `opened(connect(ports.tcp))`, ["connection.open tcp://localhost:$tcp"]],
  ["unix socket", `opened(net.connect("$WORK/x.sock"))`, ["connection.open unix:$WORK/x.sock"]],
  [
    "tls",
    `opened(tls.connect({ port: ports.tls, host: "127.0.0.1", servername: "x.test", rejectUnauthorized: false }), "secureConnect")`,
    ["connection.open tcp://127.0.0.1:$tls"],
  ],
  [
    "tls over an open socket",
    `(async () => { const socket = net.connect(ports.tls); await once(socket, "connect"); await opened(tls.connect({ socket, rejectUnauthorized: false }), "secureConnect"); })()`,
    ["connection.open tcp://localhost:$tls"],
  ],
  [
    "http2",
    `(async () => { const session = http2.connect("http://127.0.0.1:" + ports.http2); await once(session, "connect"); session.close(); await once(session, "close"); })()`,
    ["connection.open tcp://127.0.0.1:$http2"],
  ],
  [
    "a protocol by hand",
    `(async () => { const s = net.connect(ports.tcp); s.write("SET key secret\\r\\n"); await once(s, "data"); s.destroy(); })()`,
    ["connection.open tcp://localhost:$tcp"],
  ],
  [
    "@grpc/grpc-js",
    `(async () => { const client = new grpc.Client("127.0.0.1:" + ports.http2, grpc.credentials.createInsecure()); await new Promise((resolve) => client.waitForReady(Date.now() + 5000, resolve)); client.close(); })()`,
    ["connection.open tcp://127.0.0.1:$http2"],
  ],
  [
    "refused",
    `opened(net.connect(1, "127.0.0.1")).catch(() => {})`,
    ["connection.open failure ECONNREFUSED tcp://127.0.0.1:1"],
  ],
  [
    "destroyed",
    `(async () => { const s = net.connect(ports.tcp); s.destroy(); await once(s, "close"); })()`,
    ["connection.open failure ABORT_ERR tcp://localhost:$tcp"],
  ],
  [
    "no such host",
    `opened(net.connect(80, "no-such-host.invalid")).catch(() => {})`,
    ["connection.open failure ENOTFOUND tcp://no-such-host.invalid:80"],
  ],
  [
    "udp",
    `new Promise((resolve) => { const s = dgram.createSocket("udp4"); s.send("a", ports.udp, "127.0.0.1", () => s.send(Buffer.from("bb"), 0, 1, ports.udp, "127.0.0.1", () => s.send("c", ports.udp, () => s.close(resolve)))); })`,
    ["connection.open udp://127.0.0.1:$udp", "connection.open udp://localhost:$udp"],
  ],
  [
    "udp, connected",
    `(async () => { const s = dgram.createSocket("udp4"); s.connect(ports.udp, "127.0.0.1"); await once(s, "connect"); await new Promise((resolve) => s.send("a", resolve)); await new Promise((resolve) => s.close(resolve)); })()`,
    ["connection.open udp://127.0.0.1:$udp"],
  ],
  // Covered drivers: their records, and none for their connections.
  [
    "http",
    `answer(http.get({ port: ports.http, host: "127.0.0.1", agent: false }))`,
    ["http.request http://127.0.0.1:$http/"],
  ],
  [
    "http, a full agent",
    `(async () => { const agent = new http.Agent({ maxSockets: 1 }); await Promise.all([1, 2, 3].map(() => answer(http.get("http://127.0.0.1:" + ports.http, { agent })))); })()`,
    Array(3).fill("http.request http://127.0.0.1:$http/"),
  ],
  [
    "http, an agent kept alive",
    `(async () => { const agent = new http.Agent({ keepAlive: true }); for (const _ of [1, 2]) await answer(http.get("http://127.0.0.1:" + ports.http, { agent })); agent.destroy(); })()`,
    Array(2).fill("http.request http://127.0.0.1:$http/"),
  ],
  [
    "http, a socket of its own",
    `answer(http.get({ port: ports.http, host: "127.0.0.1", createConnection: (options) => net.connect(options) }))`,
    ["http.request http://127.0.0.1:$http/"],
  ],
  [
    "https",
    `answer(https.get({ port: ports.https, host: "127.0.0.1", rejectUnauthorized: false, agent: false }))`,
    ["http.request https://127.0.0.1:$https/"],
  ],
  [
    "http over a unix socket",
    `answer(http.get({ socketPath: "$WORK/http.sock", path: "/", agent: false }))`,
    ["http.request unix:$WORK/http.sock"],
  ],
  [
    "fetch",
    `fetch("http://127.0.0.1:" + ports.http).then((response) => response.text())`,
    ["http.request http://127.0.0.1:$http/"],
  ],
  [
    "undici",
    `undici.request("http://localhost:" + ports.http).then(({ body }) => body.text())`,
    ["http.request http://localhost:$http/"],
  ],
  [
    "pg",
    `(async () => { const client = new pg.Client(ports.pg); await client.connect(); await client.query("SELECT count(*) FROM orders"); await client.end(); })()`,
    ["db.statement $PG/public.orders"],
  ],
  // What hides behind a covered one.
  [
    "http, somewhere else",
    `answer(http.get({ port: 80, host: "api.test", createConnection: () => net.connect(ports.http, "127.0.0.1") }))`,
    ["connection.open tcp://127.0.0.1:$http", "http.request http://api.test/"],
  ],
  [
    "agent.createConnection",
    `opened(new http.Agent().createConnection({ port: ports.tcp, host: "127.0.0.1" }))`,
    ["connection.open tcp://127.0.0.1:$tcp"],
  ],
  [
    "a bundled copy of pg",
    `(async () => { const client = new bundled.Client(ports.pg); await client.connect(); await client.query("SELECT count(*) FROM orders"); await client.end(); })()`,
    ["connection.open $PGSOCKET"],
  ],
];

const APP = `
  import dgram from "node:dgram";
  import http from "node:http";
  import http2 from "node:http2";
  import https from "node:https";
  import net, { connect } from "node:net";
  import tls from "node:tls";
  import { once } from "node:events";
  import * as grpc from "@grpc/grpc-js";
  import pg from "pg";
  import * as undici from "undici7";
  import { flush, withAgent } from "$INDEX";
  import bundled from "./bundled.cjs";
  const certificate = JSON.parse(process.env.CERTIFICATE);
  const servers = {
    tcp: net.createServer((socket) => socket.on("error", () => {}).pipe(socket)),
    tls: tls.createServer(certificate, (socket) => socket.on("error", () => {})),
    http: http.createServer((_, response) => response.end("ok")),
    https: https.createServer(certificate, (_, response) => response.end("ok")),
    http2: http2.createServer(),
  };
  const ports = { pg: process.env.PG };
  for (const [name, server] of Object.entries(servers)) {
    await once(server.listen(0), "listening");
    ports[name] = server.address().port;
  }
  servers.unix = net.createServer((socket) => socket.end()).listen("$WORK/x.sock");
  servers.unixHttp = http.createServer((_, response) => response.end("ok")).listen("$WORK/http.sock");
  const udp = dgram.createSocket("udp4").bind(0);
  await once(udp, "listening");
  ports.udp = udp.address().port;
  const opened = async (socket, event = "connect") => { await once(socket, event); socket.destroy(); await once(socket, "close"); };
  const answer = async (request) => { const [response] = await once(request, "response"); response.resume(); await once(response, "end"); };
  const out = { ports, failed: {} };
  const cases = { CASES };
  for (const [name, run] of Object.entries(cases)) {
    try { await withAgent({ id: "agent:" + name }, run); } catch (error) { out.failed[name] = String(error); }
  }
  process.stdout.write(JSON.stringify(out));
  await flush();
  process.exit();
`.replace("CASES", CASES.map(([name, code]) => `${JSON.stringify(name)}: () => ${code}`).join(",\n"));

async function bundle(app: App): Promise<void> {
  mkdirSync(join(app.dir, "in"));
  writeFileSync(join(app.dir, "in/main.cjs"), `module.exports = { Client: require("pg").Client };`);
  const built = await rolldown({
    input: join(app.dir, "in/main.cjs"),
    platform: "node",
    external: ["pg-native", "pg-cloudflare"],
    resolve: { modules: [new URL("../../../../../node_modules", import.meta.url).pathname] },
    logLevel: "silent",
  });
  await built.write({ file: join(app.dir, "bundled.cjs"), format: "cjs" });
}

describe("what a program opens a connection with", () => {
  let app: App;
  let run: Run;
  let ports: Readonly<Record<string, number | string>>;
  let database: Postgres;
  beforeAll(async () => {
    database = await startPostgres({ sql: "CREATE TABLE orders (id int)" });
    app = await makeApp({ "app.mjs": APP, "bundled.cjs": "" });
    await bundle(app);
    symlinkSync(new URL("../../../../../node_modules", import.meta.url).pathname, join(app.dir, "node_modules"));
    run = await app.run({ env: { CERTIFICATE: JSON.stringify(makeCertificate()), PG: database.url } });
    const out: { ports: typeof ports; failed: object } = JSON.parse(run.stdout || "{}");
    if (Object.keys(out.failed ?? { all: run.stderr }).length > 0) throw new Error(JSON.stringify([out, run.stderr]));
    ports = out.ports;
  }, 60_000);
  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    await database.close();
  });

  test.each(CASES)("%s", (name, _, expected) => {
    const records = run.actions.filter((span) => text(span, "audit.actor.id") === `agent:${name}`).map(summary);
    const effects = records.filter((line) => !line.startsWith("file."));
    const named = expected.map((line) =>
      line
        .replace("$WORK", app.work)
        .replace("$PGSOCKET", `tcp://127.0.0.1:${database.port}`)
        .replace("$PG", `postgresql://127.0.0.1:${database.port}/postgres`)
        .replace(/\$(\w+)/, (_whole, port: string) => String(ports[port])),
    );
    expect(effects.map((line) => line.replace(/ (?:READ|WRITE)/, "").replace(" success", "")).toSorted()).toEqual(
      named,
    );
  });

  test("a record has where it went and who answered, and nothing of what was said", () => {
    const [span] = run.actions.filter((one) => text(one, "audit.actor.id") === "agent:a protocol by hand");
    expect(span?.attributes).toMatchObject({
      "server.address": "localhost",
      "server.port": ports["tcp"],
      "network.transport": "tcp",
      "network.peer.address": expect.stringMatching(/^(?:::1|127\.0\.0\.1)$/),
      "network.peer.port": ports["tcp"],
      "audit.target.type": "socket",
    });
    expect(JSON.stringify(run.actions.map(({ attributes }) => attributes))).not.toContain("secret");
  });
});

const POLICY = `
policy: p
mode: enforce
default: allow
resources:
  closed: { socket: ["tcp://127.0.0.1:$tcp", "udp://127.0.0.1:$tcp", "unix:$WORK/x.sock"] }
rules:
  - { id: closed, deny: { event: connection.open, resource: closed } }
`;

const DENIED: Readonly<Record<string, string>> = {
  net: `until(net.connect(port, "127.0.0.1"))`,
  "net, written to at once": `(() => { const socket = net.connect(port, "127.0.0.1"); socket.write("x"); socket.end("y"); return until(socket); })()`,
  tls: `until(tls.connect({ port, host: "127.0.0.1", servername: "x.test" }))`,
  http2: `until(http2.connect("http://127.0.0.1:" + port))`,
  unix: `until(net.connect("$WORK/x.sock"))`,
  "udp, callback": `new Promise((resolve) => { const s = dgram.createSocket("udp4"); s.send("a", port, "127.0.0.1", (error) => { s.close(); resolve(error.code); }); })`,
  "udp, event": `(() => { const s = dgram.createSocket("udp4"); s.send("a", port, "127.0.0.1"); return until(s, () => s.close()); })()`,
  "http, somewhere else": `until(http.get({ port: 80, host: "api.test", createConnection: () => net.connect(port, "127.0.0.1") }))`,
};

test("a denied connection is not opened, and the error comes as that of one that could not be", async () => {
  await using app = await makeApp({
    "app.mjs": `
      import dgram from "node:dgram";
      import http from "node:http";
      import http2 from "node:http2";
      import net from "node:net";
      import tls from "node:tls";
      const port = Number(process.argv[2] ?? process.env.PORT);
      let reached = 0;
      const server = net.createServer((socket) => { reached++; socket.destroy(); }).listen(port);
      const unix = net.createServer((socket) => { reached++; socket.destroy(); }).listen("$WORK/x.sock");
      await new Promise((resolve) => server.once("listening", resolve));
      const until = (emitter, then) => new Promise((resolve) => {
        emitter.on("connect", () => resolve("connected"));
        emitter.on("error", (error) => { then?.(); resolve(error.code); });
      });
      const out = {};
      const cases = { ${Object.entries(DENIED)
        .map(([name, code]) => `${JSON.stringify(name)}: () => ${code}`)
        .join(",\n")} };
      for (const [name, run] of Object.entries(cases)) out[name] = await run();
      process.stdout.write(JSON.stringify({ out, reached }));
      server.close();
      unix.close();
    `,
  });
  const port = await freePort();
  writeFileSync(join(app.dir, "policy.yaml"), POLICY.replaceAll("$tcp", String(port)).replace("$WORK", app.work));
  const run = await app.run({ env: { PORT: String(port), OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
  expect(JSON.parse(run.stdout || run.stderr)).toEqual({
    out: Object.fromEntries(Object.keys(DENIED).map((name) => [name, "EAUDITDENIED"])),
    reached: 0,
  });
  const denied = run.actions.map(summary).filter((line) => line.startsWith("connection.open"));
  expect(denied).toHaveLength(Object.keys(DENIED).length);
  for (const line of denied) expect(line).toContain("failure policy_denied");
});

const REVIEW = `
policy: p
mode: enforce
default: allow
rules:
  - { id: ask, review: { event: connection.open } }
`;

test.each([
  ["allow", ["net connect", "write data", "http2 connect", "unix connect", "destroyed"]],
  ["deny", ["net EAUDITDENIED", "write EAUDITDENIED", "http2 EAUDITDENIED", "unix EAUDITDENIED", "destroyed"]],
])(
  "a connection waits for an approver who says %s, and nothing reaches the other side before",
  async (answer, told) => {
    await using app = await makeApp({
      "app.mjs": `
      import http2 from "node:http2";
      import net from "node:net";
      import { once } from "node:events";
      import { setApprover } from "$INDEX";
      let waiting = 0;
      let early = 0;
      setApprover(async () => {
        waiting++;
        await new Promise((resolve) => setTimeout(resolve, 20));
        waiting--;
        return { decision: "${answer}", by: "user:1" };
      });
      const watch = (server) => server.on("connection", () => { early += waiting; });
      const tcp = watch(net.createServer((socket) => socket.on("error", () => {}).pipe(socket))).listen(0);
      const h2 = watch(http2.createServer()).listen(0);
      const unix = watch(net.createServer((socket) => socket.pipe(socket))).listen("$WORK/x.sock");
      await Promise.all([once(tcp, "listening"), once(h2, "listening")]);
      const out = [];
      const until = (name, opened, event = "connect") => new Promise((resolve) => {
        opened.on(event, () => { out.push(name + " " + event); opened.destroy(); resolve(); });
        opened.on("error", (error) => { out.push(name + " " + error.code); resolve(); });
      });
      const { port } = tcp.address();
      await until("net", net.connect(port, "127.0.0.1"));
      const written = net.connect(port);
      written.write("hello");
      await until("write", written, "data");
      await until("http2", http2.connect("http://127.0.0.1:" + h2.address().port));
      await until("unix", net.connect("$WORK/x.sock"));
      const destroyed = net.connect(port, "127.0.0.1").destroy();
      await once(destroyed, "close");
      out.push("destroyed");
      process.stdout.write(JSON.stringify({ out, early }));
      for (const server of [tcp, h2, unix]) server.close();
    `,
      "policy.yaml": REVIEW,
    });
    const run = await app.run({ env: { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml") } });
    expect(JSON.parse(run.stdout || run.stderr)).toEqual({ out: told, early: 0 });
  },
);
