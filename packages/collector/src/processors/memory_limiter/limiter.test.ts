import { afterEach, describe, expect, it } from "vitest";
import type { Consumer } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { memoryLimiterConfig } from "./config.ts";
import { memoryLimiterFactory } from "./factory.ts";
import { MemoryUsage, collectGarbage, totalMemory } from "./usage.ts";
import { SPAN, batchOf } from "../../testing/spans.ts";

const MIB = 1024 * 1024;
const taken: TraceBatch[] = [];
const next: Consumer = { consume: async (batch) => (taken.push(batch), []) };
/** What makes the process large; emptied to let go of it. */
const ballast: Buffer[] = [];
afterEach(() => void (ballast.length = taken.length = 0));

/** A soft limit that is `roomMib` above what the process uses now. */
function limitMib(roomMib: number): number {
  collectGarbage();
  return Math.ceil(new MemoryUsage(new SharedArrayBuffer(8), 0).measure() / MIB) + roomMib + 1;
}

const value = async (metric: { get(): Promise<{ values: { value: number }[] }> }): Promise<number | undefined> =>
  (await metric.get()).values[0]?.value;

it("measures long texts too, which V8 keeps beside its heap", () => {
  const usage = new MemoryUsage(new SharedArrayBuffer(8), 0);
  collectGarbage();
  const before = usage.measure();
  const texts = Array.from({ length: 4 }, () => Buffer.alloc(16 * MIB, 97).toString("latin1"));
  collectGarbage();
  expect(usage.measure() - before).toBeGreaterThan(60 * MIB);
  expect(texts).toHaveLength(4);
});

describe("memory_limiter", () => {
  it("refuses above the soft limit, retryable, and recovers when memory is free again", async () => {
    const context = testContext("memory_limiter");
    const config = memoryLimiterConfig.parse({
      check_interval: "10ms",
      limit_mib: limitMib(100),
      spike_limit_mib: 1,
      min_gc_interval_when_soft_limited: "10ms",
    });
    const limiter = memoryLimiterFactory.create(config, next, context);
    await limiter.start();
    await limiter.consume(batchOf([SPAN, SPAN]));
    ballast.push(Buffer.alloc(150 * MIB, 1));
    await expect
      .poll(() => limiter.consume(batchOf([SPAN, SPAN])).catch((error: unknown) => error))
      .toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("high memory usage") as string });
    expect(context.health.problems().get("memory_limiter")).toContain("requests are refused");
    const passed = taken.length;
    ballast.length = 0;
    await expect.poll(() => limiter.consume(batchOf([SPAN, SPAN])).catch(() => "refused")).toEqual([]);
    expect(taken.length).toBe(passed + 1);
    expect(context.health.problems().size).toBe(0);
    expect(await value(context.telemetry.processorAccepted.traces)).toBe(2 * taken.length);
    expect(await value(context.telemetry.processorRefused.traces)).toBeGreaterThanOrEqual(2);
    await limiter.shutdown();
  });

  it("refuses logs too, and counts their records", async () => {
    const context = testContext("memory_limiter");
    const forwarded: number[] = [];
    const limiter = memoryLimiterFactory.createForSignals!(
      memoryLimiterConfig.parse({ limit_mib: 1 }),
      { forward: async ({ bytes }) => void forwarded.push(bytes.length) },
      context,
    );
    const logs = {
      signal: "logs",
      bytes: Uint8Array.of(10, 6, 18, 4, 18, 0, 18, 0),
      contentType: "application/x-protobuf",
    } as const;
    await limiter.forward(logs);
    await limiter.start();
    await expect(limiter.forward(logs)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(forwarded).toEqual([8]);
    expect(await value(context.telemetry.processorRefused.logs)).toBe(2);
    await limiter.shutdown();
  });

  it("counts the memory of all threads, and no more that of one that has stopped", () => {
    const shared = new SharedArrayBuffer(16);
    const first = new MemoryUsage(shared, 0);
    const second = new MemoryUsage(shared, 1);
    // What earlier tests have left would go at any moment.
    collectGarbage();
    const one = first.measure();
    expect(second.measure()).toBeGreaterThan(1.5 * one);
    second.forget();
    expect(first.measure()).toBeLessThan(1.5 * one);
  });

  it("knows a total that percentages can be taken of", () => {
    expect(totalMemory()).toBeGreaterThan(256 * MIB);
    expect(totalMemory()).toBeLessThan(2 ** 50);
  });

  it.each<[string, object, RegExp]>([
    ["no limit", {}, /needs limit_mib or limit_percentage/],
    ["a spike as large as the limit", { limit_mib: 10, spike_limit_mib: 10 }, /must be smaller than limit_mib/],
    ["more than all", { limit_percentage: 101 }, /100/],
    ["no interval", { limit_mib: 10, check_interval: "0s" }, /must be a duration from 10ms to 1m/],
  ])("refuses %s", (_name, config, message) => {
    expect(memoryLimiterConfig.safeParse(config).error?.message).toMatch(message);
  });
});
