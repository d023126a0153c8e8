import { once } from "node:events";
import { existsSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

import { expect, test } from "vitest";

import { startOtlpSink, tempDir } from "../../../../test/support/index.ts";
import { shipSpool } from "../index.ts";
import { type App, makeApp, summary } from "../testing/run-app.ts";

const EXITS = `import fs from "node:fs"; import { withAgent } from "$INDEX";
  for (const name of ["a", "b"]) withAgent({ id: "agent:" + name }, () => fs.writeFileSync(name, ""));
  process.exit(0);`;

/** A spool directory in which a process that called process.exit() left two actions. */
async function leave(app: App): Promise<string> {
  await app.run();
  expect(app.sink.spans).toEqual([]);
  expect(readdirSync(app.spoolDir)).toHaveLength(1);
  return app.spoolDir;
}

test("sends what a dead process left, as the dead process, and adds nothing of its own", async () => {
  await using app = await makeApp({ "exits.mjs": EXITS });
  const dir = await leave(app);
  const result = await shipSpool(dir, { endpoint: app.sink.url });
  // process.start, two actions, process.summary
  expect(result).toEqual({ shipped: 4, refused: 0, left: 0 });
  expect(app.sink.spans.filter((span) => span.name === "file.write").map(summary)).toEqual([
    `file.write WRITE success file://${app.work}/a`,
    `file.write WRITE success file://${app.work}/b`,
  ]);
  expect(new Set(app.sink.spans.map(({ resource }) => resource["process.pid"])).size).toBe(1);
  expect(app.sink.spans[0]?.resource["process.pid"]).not.toBe(process.pid);
  expect(readdirSync(dir)).toEqual([]);
  expect(await shipSpool(dir, { endpoint: app.sink.url })).toEqual({ shipped: 0, refused: 0, left: 0 });
});

test("tries again after what may pass, within its time", async () => {
  await using app = await makeApp({ "exits.mjs": EXITS });
  const dir = await leave(app);
  app.sink.failNext({ status: 503 }, 2);
  expect(await shipSpool(dir, { endpoint: app.sink.url })).toEqual({ shipped: 4, refused: 0, left: 0 });
});

test("an endpoint that does not answer as ours gets nothing, and the next caller finds everything as it was", async () => {
  await using app = await makeApp({ "exits.mjs": EXITS });
  const dir = await leave(app);
  const before = readdirSync(dir);
  await using stranger = await startOtlpSink();
  const troubles: string[] = [];
  const options = { endpoint: stranger.url, timeoutMs: 3000, onTrouble: (trouble: string) => troubles.push(trouble) };
  expect(await shipSpool(dir, options)).toEqual({ shipped: 0, refused: 0, left: 4 });
  expect(troubles.join()).toContain("does not answer as an otel-audit collector");
  expect(stranger.spans).toEqual([]);
  expect(readdirSync(dir)).toEqual(before);
  expect(await shipSpool(dir, { ...options, trust: true, timeoutMs: 10_000 })).toEqual({
    shipped: 4,
    refused: 0,
    left: 0,
  });
});

test("an endpoint that hangs holds up the caller no longer than its time", async () => {
  await using app = await makeApp({ "exits.mjs": EXITS });
  const dir = await leave(app);
  const silent = createServer(() => {});
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const address = silent.address();
  const endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  expect(await shipSpool(dir, { endpoint, timeoutMs: 100, trust: true })).toEqual({ shipped: 0, refused: 0, left: 4 });
  expect(readdirSync(dir)).toHaveLength(1);
  silent.closeAllConnections();
  silent.close();
  expect(await shipSpool(dir, { endpoint: app.sink.url })).toEqual({ shipped: 4, refused: 0, left: 0 });
});

test("a redirect is not followed", async () => {
  await using app = await makeApp({ "exits.mjs": EXITS });
  const dir = await leave(app);
  await using elsewhere = await startOtlpSink();
  const answer = { location: elsewhere.tracesUrl, "otel-audit-collector": "test" };
  const redirecting = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(307, answer).end());
  });
  redirecting.listen(0, "127.0.0.1");
  await once(redirecting, "listening");
  const address = redirecting.address();
  const endpoint = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  expect(await shipSpool(dir, { endpoint, timeoutMs: 100 })).toEqual({ shipped: 0, refused: 0, left: 4 });
  expect(await shipSpool(dir, { endpoint, timeoutMs: 100, trust: true })).toEqual({ shipped: 0, refused: 0, left: 4 });
  expect(elsewhere.requests).toEqual([]);
  redirecting.closeAllConnections();
  redirecting.close();
});

test("what a living process has is counted and left to it; refused records are put aside", async () => {
  await using app = await makeApp({
    "lives.mjs": `${EXITS.replace("process.exit(0);", "")} fs.writeSync(1, "up\\n"); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`,
  });
  await using living = await app.start();
  await living.waitForLine("up");
  expect(await shipSpool(app.spoolDir, { endpoint: app.sink.url })).toEqual({ shipped: 0, refused: 0, left: 3 });
  await living.kill("SIGKILL");
  app.sink.failAlways({ status: 400 });
  expect(await shipSpool(app.spoolDir, { endpoint: app.sink.url, trust: true })).toEqual({
    shipped: 0,
    refused: 3,
    left: 0,
  });
  const [name = ""] = readdirSync(app.spoolDir);
  expect(name).toMatch(/^rejected-/);
  expect(statSync(join(app.spoolDir, name)).isFile()).toBe(true);
});

test("a directory that does not exist holds nothing and is not made", async () => {
  const dir = join(tempDir("ship"), "none");
  expect(await shipSpool(dir, { endpoint: "http://127.0.0.1:9" })).toEqual({ shipped: 0, refused: 0, left: 0 });
  expect(existsSync(dir)).toBe(false);
});

test.each([
  [{ endpoint: "nowhere" }, 'endpoint must be an http(s) URL, got "nowhere"'],
  [{ endpoint: "ftp://x" }, 'endpoint must be an http(s) URL, got "ftp://x"'],
  [{ endpoint: "http://x", timeoutMs: Number.NaN }, "timeoutMs must be at least 1, got NaN"],
])("%o is refused", async (options, message) => {
  await expect(shipSpool(tempDir("ship"), options)).rejects.toMatchObject({
    code: "INVALID_CONFIG",
    message: expect.stringContaining(message),
  });
});
