// Real collectors with one and two workers: what holds over all of them together, and what one of them does to the others.
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { otelAudit, startCollector, startProcess, tempDir } from "../../../../test/support/index.ts";
import { Collector, type CollectorOptions } from "./collector.ts";
import { auditSpan, requestOf } from "../testing/spans.ts";

const CONFIG = (workers: number, changes = ""): string => `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
processors: { audit: {} }
exporters: { clickhouse_audit: { engine: clickhouse_embedded, segment: { max_age: 100 } } }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" }, health_check: { endpoint: "127.0.0.1:0" } }
service:
  workers: ${workers}
  extensions: [clickhouse_embedded, health_check]
  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [clickhouse_audit] }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
${changes}`;

type Running = Pick<Collector, "endpoints">;
const running: Collector[] = [];
afterEach(async () => {
  for (const collector of running.splice(0)) await collector.shutdown();
});

async function start(workers: number, options: CollectorOptions = {}, config = CONFIG(workers)): Promise<Collector> {
  const collector = await Collector.start(config, {
    dataDir: tempDir("service"),
    log: pino({ level: "silent" }),
    ...options,
  });
  running.push(collector);
  return collector;
}

function body(ids: readonly string[], note?: string): Uint8Array {
  return requestOf(ids.map((id) => auditSpan(id, note)));
}

/** The status of one request on a connection of its own, or of an agent. */
function post({ endpoints }: Running, bytes: Uint8Array, agent?: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      `${endpoints.otlpHttp}/v1/traces`,
      { method: "POST", agent: agent ?? false, headers: { "content-type": "application/x-protobuf" } },
      (response) => {
        response.resume().once("end", () => resolve(response.statusCode ?? 0));
      },
    );
    outgoing.once("error", reject).end(bytes);
  });
}

async function query(collector: Running, sql: string): Promise<string> {
  const response = await fetch(`${collector.endpoints.sql}/?query=${encodeURIComponent(sql)}`);
  return (await response.text()).trim();
}

/** The value of a metric without regard to its labels; NaN when it is not there. */
async function metric(collector: Running, name: string): Promise<number> {
  const lines = (await (await fetch(`${collector.endpoints.metrics}/metrics`)).text()).split("\n");
  const found = lines.filter((line) => line.startsWith(`${name}{`));
  expect(found.length).toBeLessThanOrEqual(1);
  return Number(found[0]?.split(" ").at(-1));
}

describe.each([1, 2])("with %d workers", (workers) => {
  it("the same record, sent at the same time over many connections, is stored once", async () => {
    const collector = await start(workers);
    const agent = new Agent({ keepAlive: true, maxSockets: 32 });
    const batches = Array.from({ length: 20 }, (_, batch) => Array.from({ length: 50 }, (__, i) => `r${batch}-${i}`));
    const statuses = await Promise.all(
      batches.flatMap((ids) => Array.from({ length: 16 }, () => post(collector, body(ids), agent))),
    );
    agent.destroy();
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await collector.drain()).toBe(true);
    const count = "SELECT count(), uniqExact(RecordId) FROM otel_audit.audit_events";
    expect(await query(collector, count)).toBe("1000\t1000");
    // One page for all workers: 320 requests of 50 spans, each stored by one of them.
    // A worker that is busy for long is shown as it was before.
    await expect.poll(() => metric(collector, "otelcol_receiver_accepted_spans")).toBe(16_000);
    await expect.poll(() => metric(collector, "otel_audit_records")).toBe(1_000);
    await expect.poll(() => metric(collector, "otel_audit_duplicates")).toBe(15_000);
    await expect.poll(() => metric(collector, "otel_audit_log_bytes")).toBe(0);
    expect(await metric(collector, "otelcol_process_uptime")).toBeGreaterThan(0);
    // Who gets a connection is the system's choice: sooner or later each worker gets one, and stores in its stream.
    let next = 0;
    await expect
      .poll(async () => {
        expect(await post(collector, body([`more-${next++}`]))).toBe(200);
        expect(await collector.drain()).toBe(true);
        return query(collector, "SELECT uniqExact(StreamId) FROM otel_audit.audit_events");
      })
      .toBe(String(workers));
  });
});

describe("a data directory", () => {
  it("belongs to one collector, which the next one names and does not touch", async () => {
    const dataDir = tempDir("service");
    const config = join(tempDir("service"), "config.yaml");
    writeFileSync(config, CONFIG(1));
    await using first = await startCollector({ dataDir, config });
    await expect(start(1, { dataDir })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: `data directory "${dataDir}" (--data): ${dataDir} is in use by process ${first.process.pid}; stop it or choose another directory`,
    });
    expect(readFileSync(join(dataDir, "collector.json"), "utf8")).toContain(`"pid":${first.process.pid},`);
  });

  it("that has no room for the addresses does not keep a collector from its work", async () => {
    const dataDir = tempDir("service");
    mkdirSync(join(dataDir, "collector.json.tmp"));
    const collector = await start(1, { dataDir });
    expect(await post(collector, body(["a"]))).toBe(200);
    await collector.shutdown();
  });
});

describe("two workers", () => {
  it("see an engine that was started again", async () => {
    const collector = await start(2);
    expect(await post(collector, body(["before"]))).toBe(200);
    expect(await collector.drain()).toBe(true);
    const pid = collector.enginePid!;
    process.kill(pid, "SIGKILL");
    await expect.poll(() => collector.enginePid, { timeout: 50_000 }).not.toBe(pid);
    const statuses = await Promise.all(Array.from({ length: 16 }, (_, i) => post(collector, body([`after-${i}`]))));
    expect(new Set(statuses)).toEqual(new Set([200]));
    expect(await collector.drain()).toBe(true);
    expect(await query(collector, "SELECT count() FROM otel_audit.audit_events")).toBe("17");
    await expect.poll(async () => (await fetch(collector.endpoints.health!)).status).toBe(200);
  });

  it("what was acknowledged outlives a restart, and is known to every worker afterwards", async () => {
    const dataDir = tempDir("service");
    const first = await start(2, { dataDir });
    expect(await post(first, body(["a", "b"]))).toBe(200);
    const again = first.shutdown();
    expect(first.shutdown()).toBe(again);
    await again;
    const second = await start(2, { dataDir });
    await Promise.all(Array.from({ length: 16 }, () => post(second, body(["a", "b"]))));
    expect(await second.drain()).toBe(true);
    expect(await query(second, "SELECT count() FROM otel_audit.audit_events")).toBe("2");
  });
});

describe("a worker", () => {
  it("gives its log lines to the logger of whoever started the collector", async () => {
    const lines: string[] = [];
    const collector = await start(2, { log: pino({ level: "warn" }, { write: (line) => void lines.push(line) }) });
    await post(collector, body(["a"], "one"));
    await post(collector, body(["a"], "other"));
    await expect
      .poll(() => lines.map((line) => JSON.parse(line) as object))
      .toContainEqual(
        expect.objectContaining({
          level: 50,
          component: "clickhouse_audit",
          msg: "ledger alarm",
          worker: expect.any(Number) as number,
          alarm: expect.objectContaining({ code: "CONFLICT" }) as object,
        }),
      );
  });

  it("that dies of an uncaught error ends the process, with an exit code and the reason", async () => {
    const dir = tempDir("dying");
    const config = join(dir, "c.yaml");
    const signal = join(dir, "die");
    writeFileSync(config, CONFIG(2));
    const broken = `data:text/javascript,${encodeURIComponent(`
      import { existsSync } from "node:fs";
      import { workerData } from "node:worker_threads";
      if (workerData?.index === 1) setInterval(() => {
        if (existsSync(${JSON.stringify(signal)})) throw new Error("broken on purpose");
      }, 20);
    `)}`;
    const args = ["--import", broken, otelAudit, "collector", "--config", config, "--data", join(dir, "data")];
    await using collector = await startProcess(process.execPath, args);
    await collector.waitForLine("collector is ready");
    writeFileSync(signal, "");
    expect(await collector.exited).toEqual({ code: 1, signal: null });
    expect(collector.stderr).toContain("worker 1 died: broken on purpose");
  });
});

describe("a start that fails", () => {
  it("names the address that is taken and leaves nothing running", async () => {
    const dataDir = tempDir("service");
    const taken = createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as AddressInfo;
    const config = (workers: number): string =>
      CONFIG(workers).replace('http: { endpoint: "127.0.0.1:0" }', `http: { endpoint: "127.0.0.1:${port}" }`);
    for (const workers of [1, 2]) {
      await expect(start(workers, { dataDir }, config(workers))).rejects.toMatchObject({
        code: "ADDRESS_IN_USE",
        message: expect.stringContaining(`receivers::otlp::protocols::http::endpoint: 127.0.0.1:${port}`) as string,
      });
    }
    taken.close();
    await once(taken, "close");
    // The lock, the engine and the threads are gone: the same directory and port work at once.
    const collector = await start(2, { dataDir }, config(2));
    expect(collector.endpoints.otlpHttp).toBe(`http://127.0.0.1:${port}`);
    // Another one that shares its ports as well would get half of the connections.
    await expect(start(2, {}, config(2))).rejects.toMatchObject({ code: "ADDRESS_IN_USE" });
  });

  it("refuses a data directory that cannot be made, at once", async () => {
    const file = join(tempDir("service"), "file");
    writeFileSync(file, "");
    for (const dataDir of ["/proc/x/data", join(file, "data"), file])
      await expect(start(1, { dataDir })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining(`data directory "${dataDir}" (--data): `) as string,
      });
  });

  it.each([0, 65, 1.5])("refuses %d workers", async (workers) => {
    await expect(start(workers)).rejects.toMatchObject({
      code: "INVALID_CONFIG",
      message: expect.stringMatching(new RegExp(`^service::workers: .*, not ${workers}$`)) as string,
    });
  });
});

it("works on while strangers open more connections than the process may have files", async () => {
  const dataDir = tempDir("service");
  const config = join(tempDir("service"), "config.yaml");
  writeFileSync(config, CONFIG(2).replace("http: {", 'grpc: { endpoint: "127.0.0.1:0" }, http: {'));
  const command = [process.execPath, otelAudit, "collector", "--config", config, "--data", dataDir];
  await using child = await startProcess("sh", ["-c", 'ulimit -n 400; exec "$@"', "sh", ...command]);
  const ready = await child.waitForLine("collector is ready");
  const { endpoints } = JSON.parse(ready) as { endpoints: Collector["endpoints"] };
  const sockets = Object.values({ ...endpoints, sql: undefined }).flatMap((url) =>
    url === undefined ? [] : Array.from({ length: 300 }, () => connect(Number(new URL(url).port), "127.0.0.1")),
  );
  await Promise.all(
    sockets.map((socket) =>
      once(
        socket.on("error", () => {}),
        "connect",
      ),
    ),
  );
  for (let i = 0; i < 10; i++) expect(await post({ endpoints }, body([`r${i}`]))).toBe(200);
  expect((await fetch(endpoints.health!)).status).toBe(200);
  await expect.poll(() => query({ endpoints }, "SELECT count() FROM otel_audit.audit_events")).toBe("10");
  expect(child.stderr).not.toContain("EMFILE");
  expect(child.stderr).toContain('"max":50,"msg":"more connections than there is room for: the oldest are cut"');
  expect(await metric({ endpoints }, "otel_audit_records")).toBe(10);
  for (const socket of sockets) socket.destroy();
});

it("shows the metrics and the health of a collector whose workers are busy", async () => {
  const collector = await start(1);
  const big = body(Array.from({ length: 20_000 }, (_, i) => `busy-${i}`));
  const sent = Promise.all(Array.from({ length: 8 }, () => post(collector, big)));
  expect(await text((await fetch(collector.endpoints.health!)).body!)).toContain("Server available");
  expect(await metric(collector, "otelcol_process_uptime")).toBeGreaterThan(0);
  expect(new Set(await sent)).toEqual(new Set([200]));
});
