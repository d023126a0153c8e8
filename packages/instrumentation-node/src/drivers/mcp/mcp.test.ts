import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import type { SinkSpan } from "../../../../../test/support/index.ts";
import { type App, makeApp, text } from "../../testing/run-app.ts";

const MODULES = fileURLToPath(new URL("../../../../../node_modules", import.meta.url));
const FILESYSTEM = join(MODULES, "@modelcontextprotocol/server-filesystem/dist/index.js");

/** Two agents call the real file system server, which one of them started; the audit follows into it. */
const CLIENT = `
  const transport = new StdioClientTransport({ command: process.execPath, args: ["$SERVER", "$WORK"], stderr: "inherit",
    env: JSON.parse(process.env.SERVER_ENV ?? "{}") });
  const client = new Client({ name: "test", version: "1" });
  const show = (result) => console.log(result.isError ? "tool error" : result.content[0].text);
  const call = (name, path) => client.callTool({ name, arguments: { path, content: "x" } }).then(show, (error) => console.log(error.code));
  await withAgent({ id: "agent:starter" }, async () => {
    await client.connect(transport);
    await call("read_text_file", "$WORK/f");
  });
  await withAgent({ id: "agent:planner", onBehalfOf: "user:4711" }, async () => {
    await call("read_text_file", "$WORK/none");
    await call("write_file", "$WORK/denied");
  });
  await client.close();`;

const STDIO = "@modelcontextprotocol/sdk/client/stdio.js";
const IMPORTS = `import { Client } from "@modelcontextprotocol/sdk/client/index.js"; import { StdioClientTransport } from "${STDIO}";
  import { withAgent } from "$INDEX";`;
const REQUIRES = `const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { StdioClientTransport } = require("${STDIO}");`;
const CLIENTS = {
  "client.mjs": `${IMPORTS}${CLIENT}`,
  "client.cjs": `${REQUIRES} (async () => { const { withAgent } = await import("$INDEX"); ${CLIENT} })();`,
};

const POLICY = `
policy: tools
mode: enforce
default: allow
rules:
  - { id: no-writing, deny: { event: tool.call, tool: "write_*" } }
`;

async function application(): Promise<App> {
  const files = Object.entries({ ...CLIENTS, "policy.yaml": POLICY, "work/f": "content of f" }).map(
    ([name, source]) => [name, source.replaceAll("$SERVER", FILESYSTEM)],
  );
  const app = await makeApp(Object.fromEntries(files));
  symlinkSync(MODULES, join(app.dir, "node_modules"));
  return app;
}

/** Tool calls and what files they touched, each below what caused it. */
function story(spans: readonly SinkSpan[], work: string): string[] {
  const below = (cause: string, indent: string): string[] =>
    spans
      .filter((span) => text(span, "audit.cause.record.id") === cause)
      .filter(
        (span) =>
          text(span, "audit.target.id").startsWith(`file://${work}/`) || text(span, "audit.target.type") === "tool",
      )
      .toSorted((a, b) => Number(a.startTimeUnixNano ?? 0) - Number(b.startTimeUnixNano ?? 0))
      .flatMap((span) => [indent + line(span, work), ...below(text(span, "audit.record.id") || "none", `${indent}  `)]);
  return below("", "");
}

function line(span: SinkSpan, work: string): string {
  const keys = ["audit.actor.id", "audit.event.name", "audit.target.id", "audit.outcome", "error.type"];
  const parts = keys.map((key) => text(span, key)).filter((part) => part !== "");
  return parts.join(" ").replace(`file://${work}/`, "");
}

test.each(Object.keys(CLIENTS))("%s: a call, the same call in the server, and what it does there", async (main) => {
  await using app = await application();
  const run = await app.run({ main });
  expect(run).toMatchObject({
    code: 0,
    stdout: "content of f\ntool error\nSuccessfully wrote to " + app.work + "/denied\n",
  });
  // A loader hook is no reason to see modules being loaded.
  const files = run.actions.filter((span) => text(span, "audit.target.type") === "file");
  expect(files.filter((span) => text(span, "audit.target.id").includes("node_modules"))).toEqual([]);
  const call = "tool.call tool:secure-filesystem-server";
  expect(story(run.actions, app.work)).toEqual([
    `agent:starter ${call}/read_text_file success`,
    `  agent:starter ${call}/read_text_file success`,
    `    agent:starter file.read f success`,
    `agent:planner ${call}/read_text_file failure tool_error`,
    `  agent:planner ${call}/read_text_file failure tool_error`,
    `    agent:planner file.read none failure ENOENT`,
    `agent:planner ${call}/write_file success`,
    `  agent:planner ${call}/write_file success`,
    `    agent:planner file.create denied success`,
  ]);
});

test("a call that the client's policy denies rejects, and never reaches the server", async () => {
  await using app = await application();
  const env = {
    OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml"),
    SERVER_ENV: JSON.stringify({ OTEL_AUDIT_POLICY: "" }),
  };
  const run = await app.run({ env });
  expect(run).toMatchObject({ code: 0, stdout: "content of f\ntool error\nEAUDITDENIED\n" });
  expect(story(run.actions, app.work).at(-1)).toBe(
    "agent:planner tool.call tool:secure-filesystem-server/write_file failure policy_denied",
  );
});

test("a call that the server's policy denies is a tool's error for the client, and the tool does not run", async () => {
  await using app = await application();
  const server = { OTEL_AUDIT_POLICY: join(app.dir, "policy.yaml"), OTEL_AUDIT_AGENT_ID: "agent:files" };
  const run = await app.run({ env: { SERVER_ENV: JSON.stringify(server) } });
  expect(run).toMatchObject({ code: 0, stdout: "content of f\ntool error\ntool error\n" });
  expect(story(run.actions, app.work).slice(-2)).toEqual([
    "agent:planner tool.call tool:secure-filesystem-server/write_file failure tool_error",
    "  agent:files tool.call tool:secure-filesystem-server/write_file failure policy_denied",
  ]);
  // An agent of the server's own is accountable; the one that asked stands before it, not the one that started it.
  const [denied] = run.actions.filter((span) => text(span, "error.type") === "policy_denied");
  expect(denied).toMatchObject({
    kind: 2,
    attributes: {
      "audit.actor.id": "agent:files",
      "audit.actor.chain": ["agent:planner"],
      "audit.on_behalf_of.id": "user:4711",
      "audit.actor.claimed": ["agent:planner", "user:4711"],
    },
  });
});

test("a server that takes nobody's word knows the cause, but of who acts only who started it", async () => {
  await using app = await application();
  const run = await app.run({ env: { SERVER_ENV: JSON.stringify({ OTEL_AUDIT_ACCEPT_FROM: "none" }) } });
  expect(story(run.actions, app.work).slice(3, 6)).toEqual([
    "agent:planner tool.call tool:secure-filesystem-server/read_text_file failure tool_error",
    "  agent:starter tool.call tool:secure-filesystem-server/read_text_file failure tool_error",
    "    agent:starter file.read none failure ENOENT",
  ]);
});

const IN_MEMORY = `
  import { Client } from "@modelcontextprotocol/sdk/client/index.js";
  import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
  import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
  import { currentAgent, withAgent } from "$INDEX";
  import { readFileSync } from "node:fs";
  const server = new McpServer({ name: "own", version: "1" });
  let meta;
  server.registerTool("read", {}, async (extra) => {
    meta = extra._meta;
    return { content: [{ type: "text", text: readFileSync("$WORK/f", "utf8") }] };
  });
  server.registerTool("broken", {}, async () => { throw new Error("no"); });
  const client = new Client({ name: "test", version: "1" });
  const [here, there] = InMemoryTransport.createLinkedPair();
  await Promise.all([server.connect(there), client.connect(here)]);
  const params = Object.freeze({ name: "read", _meta: Object.freeze({ progressToken: 7, "a/b": 1 }) });
  await withAgent({ id: "agent:a" }, () => client.callTool(params));
  console.log(Object.keys(meta).join(" "));
  await withAgent({ id: "agent:b" }, () => client.callTool({ name: "broken" }));
  await withAgent({ id: "agent:b" }, () => client.callTool({ name: "none" }).catch(() => {}));
  const late = new AbortController();
  const call = client.callTool({ name: "read" }, undefined, { signal: late.signal });
  late.abort("enough");
  await call.catch((error) => console.log(error.message));
  await client.close();`;

test("client and server in one process, tools by McpServer, what the caller sent stays as it is", async () => {
  await using app = await makeApp({ "main.mjs": IN_MEMORY, "work/f": "content" });
  symlinkSync(MODULES, join(app.dir, "node_modules"));
  const run = await app.run();
  expect(run).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^progressToken a\/b otel-audit\/cause\n.*enough\n$/),
  });
  expect(story(run.actions, app.work).slice(0, 7)).toEqual([
    "agent:a tool.call tool:own/read success",
    "  agent:a tool.call tool:own/read success",
    "    agent:a file.read f success",
    "agent:b tool.call tool:own/broken failure tool_error",
    "  agent:b tool.call tool:own/broken failure tool_error",
    "agent:b tool.call tool:own/none failure tool_error",
    "  agent:b tool.call tool:own/none failure tool_error",
  ]);
  expect(story(run.actions, app.work)[7]).toBe("tool.call tool:own/read failure -32001");
});

const HTTP_SERVER = `
  import http from "node:http"; import { randomUUID } from "node:crypto"; import { readFile } from "node:fs/promises";
  import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
  import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
  const server = new McpServer({ name: "remote", version: "1" });
  server.registerTool("read", {}, async () => ({ content: [{ type: "text", text: await readFile("$WORK/f", "utf8") }] }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: () => randomUUID() });
  await server.connect(transport);
  const listener = http.createServer((request, response) => transport.handleRequest(request, response));
  listener.listen(0, "127.0.0.1", () => console.log("port", listener.address().port));
  process.on("SIGTERM", () => { listener.closeAllConnections(); listener.close(); });`;

const HTTP_CLIENT = `
  import { Client } from "@modelcontextprotocol/sdk/client/index.js";
  import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
  import { withAgent } from "$INDEX";
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL("http://127.0.0.1:" + process.env.PORT + "/mcp")));
  const call = async () => console.log((await client.callTool({ name: "read" })).content[0].text);
  await Promise.all(["agent:a", "agent:b"].map((id) => withAgent({ id }, call)));
  await client.close();`;

test("over HTTP, to a listed host: agents on one session do not mix", async () => {
  await using app = await makeApp({ "client.mjs": HTTP_CLIENT, "server.mjs": HTTP_SERVER, "work/f": "content" });
  symlinkSync(MODULES, join(app.dir, "node_modules"));
  await using server = await app.start({ main: "server.mjs", env: { OTEL_AUDIT_ACCEPT_FROM: "loopback" } });
  const port = (await server.waitForLine(/^port /)).slice("port ".length);
  const run = await app.run({ main: "client.mjs", env: { PORT: port, OTEL_AUDIT_PROPAGATE_TO: "127.0.0.1" } });
  expect(run).toMatchObject({ code: 0, stdout: "content\ncontent\n" });
  await server.kill();
  const lines = story(app.sink.spans, app.work);
  const own = lines.filter((each) => each.includes("agent:a"));
  expect(own).toEqual([
    "agent:a tool.call tool:remote/read success",
    "  agent:a tool.call tool:remote/read success",
    "    agent:a file.read f success",
  ]);
  expect(lines.filter((each) => each.includes("agent:b"))).toEqual(
    own.map((each) => each.replace("agent:a", "agent:b")),
  );
  const call = app.sink.spans.find((span) => text(span, "audit.event.name") === "tool.call" && span.kind === 3);
  const request = app.sink.spans.find(
    (span) =>
      text(span, "audit.event.name") === "http.request" &&
      text(span, "audit.cause.record.id") === text(call ?? {}, "audit.record.id"),
  );
  expect(call?.attributes).toMatchObject({ "server.address": "127.0.0.1", "mcp.method.name": "tools/call" });
  expect(request?.attributes).toMatchObject({ "gen_ai.tool.name": "read" });
});
