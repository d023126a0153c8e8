import { encodeTraces, scanTraces } from "@otel-audit/otlp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startOtlpSink, type OtlpSink } from "../../../../../test/support/index.ts";
import { testContext } from "../../testing/context.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { otlphttpConfig } from "./config.ts";
import { OtlphttpExporter } from "./exporter.ts";

let sink: OtlpSink;
beforeEach(async () => {
  sink = await startOtlpSink();
});
afterEach(() => sink.close());

function batch(name: string): TraceBatch {
  const span = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "0102030405060708",
    name,
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
  };
  return TraceBatch.of(scanTraces(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })));
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
    expect(await out.drain(5_000)).toBe(true);
    expect(sink.spans.map(({ name }) => name)).toEqual(["a"]);
    expect(await count(context.telemetry.sent.traces)).toBe(1);
    await out.shutdown();
  });

  it("tries again what may pass, and gives up what will not", async () => {
    const { exporter: out, context } = exporter();
    sink.failNext({ status: 503 }, 2);
    await out.consume(batch("a"));
    expect(await out.drain(5_000)).toBe(true);
    sink.failNext({ status: 400 });
    await out.consume(batch("b"));
    expect(await out.drain(5_000)).toBe(true);
    expect(sink.spans.map(({ name }) => name)).toEqual(["a"]);
    expect([await count(context.telemetry.sent.traces), await count(context.telemetry.sendFailed.traces)]).toEqual([
      1, 1,
    ]);
    await out.shutdown();
  });

  it("drops the oldest when the queue is full, counted, and never waits", async () => {
    const { exporter: out, context } = exporter({ sending_queue: { queue_size: 2, num_consumers: 1 } });
    sink.failNext({ status: 503 });
    for (const name of ["sending", "dropped", "b", "c"]) await out.consume(batch(name));
    expect(await out.drain(5_000)).toBe(true);
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
  }, 15_000);
});
