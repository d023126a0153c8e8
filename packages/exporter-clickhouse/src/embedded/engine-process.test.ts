import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@clickhouse/client";
import { afterEach, describe, expect, it } from "vitest";
import { startProcess, tempDir } from "../../../../test/support/index.ts";
import { ClickHouseError } from "../errors.ts";
import { EmbeddedEngine } from "./engine.ts";
import type { EmbeddedEngineOptions, EngineExit } from "./engine.ts";

/** Starting, ending and dying of the engine's process. */
const started: EmbeddedEngine[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((engine) => engine.stop()));
});

async function start(options: EmbeddedEngineOptions): Promise<EmbeddedEngine> {
  const engine = await EmbeddedEngine.start(options);
  started.push(engine);
  return engine;
}

const exitOf = (engine: EmbeddedEngine): Promise<EngineExit> => new Promise((resolve) => engine.onExit(resolve));

async function ask(engine: EmbeddedEngine, sql: string, headers: Record<string, string> = {}): Promise<string> {
  return await (await fetch(engine.url, { method: "POST", body: sql, headers })).text();
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

it("has every acknowledged insert after kill -9 in the middle of inserts, each batch whole or absent", async () => {
  const dataDir = tempDir("killed");
  const engine = await start({ dataDir });
  const exit = exitOf(engine);
  const client = createClient({ ...engine.writer, log: { level: 127 } });
  const acknowledged: string[] = [];
  let sent = 0;
  const insertUntilDead = async (lane: number): Promise<void> => {
    for (;;) {
      const id = `${lane}-${sent++}`;
      const values = Array.from({ length: 2_000 }, () => ({ TraceId: id, SpanName: "x".repeat(100) }));
      try {
        await client.insert({ table: "otel_traces", values, format: "JSONEachRow" });
      } catch {
        return;
      }
      acknowledged.push(id);
    }
  };
  const lanes = [insertUntilDead(0), insertUntilDead(1)];
  while (acknowledged.length < 10) await sleep(5);
  process.kill(engine.pid, "SIGKILL");
  await Promise.all(lanes);
  await client.close();
  expect(await exit).toEqual({ code: null, signal: "SIGKILL", expected: false });

  const again = await start({ dataDir });
  const text = await ask(again, "SELECT TraceId, count() FROM otel_traces GROUP BY TraceId FORMAT TSV");
  const counts = new Map(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("\t"))
      .map(([id = "", n]) => [id, n]),
  );
  expect([...counts.values()].every((rows) => rows === "2000")).toBe(true);
  expect(acknowledged.filter((id) => !counts.has(id))).toEqual([]);
});

it("ends when its parent is killed, and stays when only the terminal says stop", async () => {
  const dataDir = tempDir("orphan");
  const script = join(dataDir, "parent.mjs");
  mkdirSync(dataDir, { recursive: true });
  const module = new URL("./engine.ts", import.meta.url).href;
  writeFileSync(
    script,
    `import { EmbeddedEngine } from ${JSON.stringify(module)};
     const engine = await EmbeddedEngine.start({ dataDir: ${JSON.stringify(dataDir)} });
     console.log("engine " + engine.pid + " " + engine.url);`,
  );
  await using parent = await startProcess(process.execPath, [script]);
  const line = await parent.waitForLine(/^engine \d+/);
  const [, pid = "", url = ""] = line.split(" ");
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.kill(Number(pid), signal);
  expect(await (await fetch(`${url}/?query=SELECT+1`)).text()).toBe("1\n");
  await parent.kill("SIGKILL");
  while (isRunning(Number(pid))) await sleep(20);
});

describe("what is in use", () => {
  it("names the process that has the directory", async () => {
    const dataDir = tempDir("twice");
    const engine = await start({ dataDir });
    const second = EmbeddedEngine.start({ dataDir });
    await expect(second).rejects.toMatchObject({ code: "ENGINE_START" });
    await expect(second).rejects.toThrow(`${dataDir} is in use by process ${engine.pid}`);
    expect(await ask(engine, "SELECT 1")).toBe("1\n");
    // The second attempt must not have taken what the first one spools.
    const client = createClient({ ...engine.writer });
    await client.insert({ table: "otel_traces", values: [{ TraceId: "a" }], format: "JSONEachRow" });
    await client.close();
  });

  it("names the process that has the port", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const failing = EmbeddedEngine.start({ dataDir: tempDir("port"), port });
    await expect(failing).rejects.toMatchObject({ code: "ENGINE_START" });
    // Linux always tells about one's own processes; elsewhere it depends on lsof.
    const owner = process.platform === "linux" ? ` by process ${process.pid}` : "";
    await expect(failing).rejects.toThrow(`port ${port} on 127.0.0.1 is in use${owner}`);
    server.close();
  });
});

describe("options", () => {
  it.each<[string, Partial<EmbeddedEngineOptions>, RegExp]>([
    ["another address without a token", { host: "0.0.0.0" }, /host 0\.0\.0\.0 .* a token is required/],
    ["an empty token", { token: "" }, /token/],
    ["a port that is none", { port: 70_000 }, /port 70000: 0 to 65535/],
    ["reading what is not there", { readOnly: true }, /holds no embedded database/],
  ])("refuses %s", async (_name, options, message) => {
    const starting = EmbeddedEngine.start({ dataDir: tempDir("options"), ...options });
    await expect(starting).rejects.toThrow(message);
    await expect(starting).rejects.toBeInstanceOf(ClickHouseError);
    await expect(starting).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });

  it("refuses a path that the engine would read as a pattern", async () => {
    const starting = EmbeddedEngine.start({ dataDir: join(tempDir("options"), "a*b") });
    await expect(starting).rejects.toMatchObject({ code: "INVALID_OPTION" });
  });

  it("takes a directory with blanks, quotes and ampersands in its name", async () => {
    const dataDir = join(tempDir("odd"), 'it\'s <a> & "b" ü');
    const engine = await start({ dataDir });
    const client = createClient({ ...engine.writer });
    await client.insert({ table: "otel_traces", values: [{ TraceId: "a" }], format: "JSONEachRow" });
    await client.close();
    expect(await ask(engine, "SELECT count() FROM otel_traces")).toBe("1\n");
    expect(await engine.stop()).toBeUndefined();
    let exit: EngineExit | undefined;
    engine.onExit((seen) => (exit = seen));
    await sleep(0);
    expect(exit).toEqual({ code: 0, signal: null, expected: true });
    // A second stop has nothing to do.
    await engine.stop();

    const reading = await start({ dataDir, readOnly: true, token: "secret", host: "::1" });
    const bearer = { Authorization: "Bearer secret" };
    expect(await ask(reading, "SELECT count() FROM otel_traces", bearer)).toBe("1\n");
    expect(await ask(reading, "SELECT 1")).toMatch(/REQUIRED_PASSWORD/);
    const write = "INSERT INTO otel_traces (TraceId) VALUES ('b')";
    expect(await ask(reading, write, bearer)).toMatch(/ACCESS_DENIED/);
    const writer = { "X-ClickHouse-User": engine.writer.username };
    expect(await ask(reading, write, writer)).toMatch(/AUTHENTICATION_FAILED/);
    expect(await ask(reading, write, { ...writer, "X-ClickHouse-Key": engine.writer.password })).toMatch(
      /AUTHENTICATION_FAILED/,
    );
  });
});

it("lets an insert under way finish when it stops", async () => {
  const dataDir = tempDir("stop");
  const engine = await start({ dataDir });
  const headers = { "X-ClickHouse-User": engine.writer.username, "X-ClickHouse-Key": engine.writer.password };
  const { readable: body, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const upload = writable.getWriter();
  const query = encodeURIComponent("INSERT INTO otel_traces FORMAT JSONEachRow");
  const path = `${engine.url}/?query_id=last&query=${query}`;
  const inserting = fetch(path, { method: "POST", body, duplex: "half", headers });
  void upload.write(Buffer.from('{"TraceId":"a"}\n'));
  const look = "SELECT count() FROM system.processes WHERE query_id = 'last'";
  await expect.poll(() => ask(engine, look, headers)).toBe("1\n");
  const stopped = engine.stop();
  await upload.write(Buffer.from('{"TraceId":"b"}\n'.repeat(5_000)));
  await upload.close();
  expect((await inserting).status).toBe(200);
  await stopped;
  const again = await start({ dataDir, readOnly: true });
  expect(await ask(again, "SELECT count() FROM otel_traces")).toBe("5001\n");
});
