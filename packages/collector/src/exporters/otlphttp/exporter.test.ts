import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startHttpApi, startOtlpSink, type OtlpSink } from "../../../../../test/support/index.ts";
import { closeServer, listen } from "../../../../../test/support/listen.ts";
import type { SignalBatch } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { otlphttpConfig } from "./config.ts";
import { OtlphttpExporter } from "./exporter.ts";
import { SPAN, batchOf } from "../../testing/spans.ts";

let sink: OtlpSink;
beforeEach(async () => {
  sink = await startOtlpSink();
});
afterEach(() => sink.close());

function batch(name: string): TraceBatch {
  return batchOf([{ ...SPAN, name }]);
}

function exporter(more: Record<string, unknown> = {}): {
  exporter: OtlphttpExporter;
  context: ReturnType<typeof testContext>;
} {
  const context = testContext("otlphttp");
  const config = otlphttpConfig.parse({ endpoint: sink.url, retry_on_failure: { initial_interval: 5 }, ...more });
  return { exporter: new OtlphttpExporter(config, context), context };
}

const count = async (metric: { get(): Promise<{ values: { value: number }[] }> }): Promise<number> =>
  (await metric.get()).values[0]?.value ?? 0;

describe("OtlphttpExporter", () => {
  it.each(["none", "gzip"])("forwards spans (compression %s)", async (compression) => {
    const { exporter: out, context } = exporter({ compression });
    await out.consume(batch("a"));
    expect(await out.drain(20_000)).toBe(true);
    expect(sink.spans.map(({ name }) => name)).toEqual(["a"]);
    expect(await count(context.telemetry.sent.traces)).toBe(1);
    await out.shutdown();
  });

  it.each([
    ["none", (body: Buffer) => body],
    ["gzip", gunzipSync],
  ] as const)("forwards several requests as one (compression %s)", async (compression, inflate) => {
    const bodies: Buffer[] = [];
    const keep = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      bodies.push(await buffer(request));
      response.end();
    };
    const server = createServer((request, response) => void keep(request, response));
    const endpoint = `http://127.0.0.1:${await listen(server)}`;
    const { exporter: out } = exporter({ compression, endpoint });
    const batches = ["a", "b", "c"].map(batch);
    for (const one of batches) await out.consume(one);
    await out.shutdown();
    await closeServer(server);
    expect(bodies.map((body) => inflate(body))).toEqual([Buffer.concat(batches.map(({ bytes }) => bytes))]);
  });

  it("tries again what may pass, and gives up what will not", async () => {
    const { exporter: out, context } = exporter();
    sink.failNext({ status: 503 }, 2);
    await out.consume(batch("a"));
    expect(await out.drain(20_000)).toBe(true);
    sink.failNext({ status: 400 });
    await out.consume(batch("b"));
    expect(await out.drain(20_000)).toBe(true);
    expect(sink.spans.map(({ name }) => name)).toEqual(["a"]);
    expect([await count(context.telemetry.sent.traces), await count(context.telemetry.sendFailed.traces)]).toEqual([
      1, 1,
    ]);
    await out.shutdown();
  });

  it.each([
    ["application/x-protobuf", Buffer.from([0x0a, 0x07, 0x08, 0x01, 0x12, 0x03, 0x62, 0x61, 0x64])],
    ["application/json", Buffer.from('{"partialSuccess":{"rejectedSpans":"1","errorMessage":"bad"}}')],
  ])("counts what a backend refuses of a request that it takes, in %s", async (contentType, answer) => {
    const server = createServer((request, response) => {
      request.resume().once("end", () => response.setHeader("content-type", contentType).end(answer));
    });
    const endpoint = `http://127.0.0.1:${await listen(server)}`;
    const { exporter: out, context } = exporter({ endpoint });
    for (const name of ["a", "b", "c"]) await out.consume(batch(name));
    await out.shutdown();
    await closeServer(server);
    expect([await count(context.telemetry.sent.traces), await count(context.telemetry.sendFailed.traces)]).toEqual([
      2, 1,
    ]);
  });

  it("drops the oldest when the queue is full, counted, and never waits", async () => {
    const { exporter: out, context } = exporter({
      sending_queue: { queue_size: 2, num_consumers: 1, batch: { max_size: 0 } },
    });
    sink.failNext({ status: 503 });
    for (const name of ["sending", "dropped", "b", "c"]) await out.consume(batch(name));
    expect(await out.drain(20_000)).toBe(true);
    expect(sink.spans.map(({ name }) => name)).toEqual(["sending", "b", "c"]);
    expect(await count(context.telemetry.enqueueFailed.traces)).toBe(1);
    await out.shutdown();
  });

  it("stops in bounded time while the backend is away", async () => {
    await sink.close();
    const { exporter: out, context } = exporter();
    await out.consume(batch("a"));
    expect(await out.drain(50)).toBe(false);
    await out.shutdown();
    expect(await count(context.telemetry.sendFailed.traces)).toBe(1);
  });
});

describe("OtlphttpExporter with logs and metrics", () => {
  // Two log records; every byte is ASCII.
  const logs: SignalBatch = {
    signal: "logs",
    bytes: Uint8Array.of(10, 6, 18, 4, 18, 0, 18, 0),
    contentType: "application/x-protobuf",
  };

  it("forwards the bytes that came with their type, each signal to its URL", async () => {
    await using api = await startHttpApi();
    const context = testContext("otlphttp");
    const config = otlphttpConfig.parse({
      endpoint: `${api.url}/base/`,
      metrics_endpoint: `${api.url}/other`,
      headers: { "x-key": "k" },
    });
    const out = new OtlphttpExporter(config, context);
    await out.forward(logs);
    await out.forward({ signal: "metrics", bytes: Buffer.from("{}"), contentType: "application/json" });
    expect(await out.drain(20_000)).toBe(true);
    expect(api.requests.toSorted((a, b) => a.path.localeCompare(b.path))).toMatchObject([
      { path: "/base/v1/logs", body: Buffer.from(logs.bytes).toString(), headers: { "x-key": "k" } },
      { path: "/other", body: "{}", headers: { "content-type": "application/json" } },
    ]);
    expect(await count(context.telemetry.sent.logs)).toBe(2);
    expect(await count(context.telemetry.sent.metrics)).toBe(1);
    await out.shutdown();
  });

  it("tells nobody the credentials and the query of its endpoint", async () => {
    await using api = await startHttpApi({ routes: { "POST /p/v1/logs": { status: 400 } } });
    const lines: string[] = [];
    const context = testContext("otlphttp", { log: pino({}, { write: (line: string) => void lines.push(line) }) });
    const endpoint = `${api.url.replace("//", "//user:s3cret@")}/p?api_key=s3cret`;
    const out = new OtlphttpExporter(otlphttpConfig.parse({ endpoint }), context);
    await out.forward(logs);
    expect(await out.drain(20_000)).toBe(true);
    expect(api.requests).toMatchObject([
      { path: "/p/v1/logs", headers: { authorization: `Basic ${Buffer.from("user:s3cret").toString("base64")}` } },
    ]);
    expect(lines.join()).toContain("/p/v1/logs?[REDACTED] answered 400");
    expect(lines.join()).not.toContain("s3cret");
    await out.shutdown();
  });

  it("keeps the memory of a request until it has left, and gives it back", async () => {
    await using api = await startHttpApi({ routes: { "POST /v1/logs": { delayMs: 50 } } });
    const context = testContext("otlphttp");
    const out = new OtlphttpExporter(otlphttpConfig.parse({ logs_endpoint: `${api.url}/v1/logs` }), context);
    const memory = context.memory.take(20_000);
    // Field 1 with the number 8, many times.
    const bytes = memory.buffer.subarray(0, 20_000).fill(8);
    await out.forward({ ...logs, bytes, memory });
    memory.release();
    expect(context.memory.keptBytes).toBe(0);
    expect(await out.drain(20_000)).toBe(true);
    expect(api.requests[0]!.body).toBe("\b".repeat(20_000));
    expect(context.memory.keptBytes).toBeGreaterThan(0);
    await out.shutdown();
  });

  it("drops the oldest of one signal without touching another", async () => {
    await using api = await startHttpApi({ routes: { "POST /v1/logs": { status: 503 } } });
    const context = testContext("otlphttp");
    const config = otlphttpConfig.parse({
      endpoint: api.url,
      sending_queue: { queue_size: 1, num_consumers: 1, batch: { max_size: 0 } },
      retry_on_failure: { initial_interval: "20ms", max_interval: "20ms", max_elapsed_time: 0 },
    });
    const out = new OtlphttpExporter(config, context);
    for (let i = 0; i < 3; i++) await out.forward(logs);
    await out.forward({ ...logs, signal: "metrics" });
    await expect.poll(() => api.requests.map(({ path }) => path)).toContain("/v1/metrics");
    expect(await count(context.telemetry.enqueueFailed.logs)).toBe(2);
    api.on("POST /v1/logs", {});
    await out.shutdown();
    expect(await count(context.telemetry.sent.logs)).toBe(4);
  });

  it("does not ask again sooner than the backend wants, whatever the backoff", async () => {
    await using api = await startHttpApi();
    api.failNext({ status: 429, headers: { "retry-after": "1" } });
    const times: number[] = [];
    api.on("POST /v1/logs", () => (times.push(performance.now()), {}));
    const context = testContext("otlphttp");
    const out = new OtlphttpExporter(
      otlphttpConfig.parse({ endpoint: api.url, compression: "gzip", retry_on_failure: { initial_interval: 1 } }),
      context,
    );
    const sent = performance.now();
    await out.forward(logs);
    expect(await out.drain(20_000)).toBe(true);
    expect(times).toHaveLength(1);
    expect(times[0]! - sent).toBeGreaterThanOrEqual(990);
    await out.shutdown();
  });

  it("gives up what the backend wants later than it may wait, with one line for many", async () => {
    await using api = await startHttpApi({
      routes: { "POST /v1/logs": { status: 503, headers: { "retry-after": "Fri, 31 Dec 2199 23:59:59 GMT" } } },
    });
    const lines: string[] = [];
    const context = testContext("otlphttp", { log: pino({}, { write: (line: string) => void lines.push(line) }) });
    const out = new OtlphttpExporter(otlphttpConfig.parse({ endpoint: api.url }), context);
    for (let i = 0; i < 20; i++) await out.forward(logs);
    expect(await out.drain(20_000)).toBe(true);
    expect(await count(context.telemetry.sendFailed.logs)).toBe(40);
    expect(lines.filter((line) => line.includes("given up")).length).toBeLessThan(20);
    await out.shutdown();
  });

  it("gives a request up at once without retries", async () => {
    await using api = await startHttpApi({ routes: { "POST /v1/logs": { status: 503 } } });
    const context = testContext("otlphttp");
    const out = new OtlphttpExporter(
      otlphttpConfig.parse({ endpoint: api.url, retry_on_failure: { enabled: false } }),
      context,
    );
    await out.forward(logs);
    expect(await out.drain(20_000)).toBe(true);
    expect([api.requests.length, await count(context.telemetry.sendFailed.logs)]).toEqual([1, 2]);
    await out.shutdown();
  });
});
