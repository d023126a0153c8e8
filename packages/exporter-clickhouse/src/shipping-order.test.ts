import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { AuditWriter } from "./audit-writer.ts";
import { FaultProxy } from "./testing/fault-proxy.ts";
import { OneEngine, PATIENCE, Shipping } from "./testing/shipping.ts";

/** What is tried when, and in which order. */
let one: OneEngine;
let way: Shipping;

beforeAll(async () => {
  one = await OneEngine.start();
});
afterAll(() => one.stop());
beforeEach(async () => {
  way = await Shipping.start(one);
});
afterEach(() => way.stop());

test("a backlog does not starve what is closed now, and keeps its order", async () => {
  const { port } = new URL(way.proxy.url);
  await way.proxy.stop();
  const old: string[] = [];
  for (let i = 0; i < 30; i++) old.push((await way.addSegment()).path);
  // As soon as they get through, those that waited stand still.
  const gate = Promise.withResolvers<void>();
  way.before = async ({ path }) => {
    if (way.reasons().includes("healthy") && old.includes(path)) await gate.promise;
  };
  way.shipper.start();
  await vi.waitFor(() => expect(way.reasons()).toEqual(["unreachable"]), PATIENCE);
  way.proxy = await FaultProxy.start(one.engine.url, Number(port));
  await vi.waitFor(() => expect(way.reasons()).toContain("healthy"), PATIENCE);
  const fresh = await way.addSegment();
  way.shipper.wake();
  await vi.waitFor(() => expect(way.shipped).toContainEqual(fresh), PATIENCE);
  gate.resolve();
  expect(await way.arrived()).toEqual({ rows: 93, once: 93 });
  // Two side by side, and the very first ones were those that found out.
  const order = way.shipped.filter(({ path }) => path !== fresh.path).map(({ path }) => old.indexOf(path));
  for (const [at, index] of order.slice(2).entries()) expect(Math.abs(index - (at + 2))).toBeLessThanOrEqual(2);
  // Once more in between, where one that had failed was the last to get through.
  expect(new Set(way.reasons())).toEqual(new Set(["unreachable", "healthy"]));
});

test("while the engine is down it is asked for often, and it is found at once when it is back, whatever the pauses", async () => {
  let up = false;
  await way.writer.close();
  way.writer = new AuditWriter(() => {
    if (!up) throw new Error("the embedded engine is not running");
    return { ...one.engine.writer, url: way.proxy.url };
  });
  way.shipper = way.shipperWith({ minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
  await way.addSegment();
  await way.addSegment();
  way.shipper.start();
  await vi.waitFor(() => expect(way.failures.length).toBeGreaterThan(5), PATIENCE);
  expect(way.reasons()).toEqual(["engine_down"]);
  up = true;
  expect(await way.arrived()).toEqual({ rows: 6, once: 6 });
});

test("a pause after a failure is not cut short by segments that close, but by who knows better", async () => {
  way.shipper = way.shipperWith({ minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
  way.proxy.always = { code: 252, name: "TOO_MANY_PARTS" };
  await way.addSegment();
  way.shipper.start();
  await vi.waitFor(() => expect(way.reasons()).toEqual(["too_many_parts"]), PATIENCE);
  for (let i = 0; i < 5; i++) {
    await way.addSegment();
    way.shipper.wake();
    await sleep(20);
  }
  expect(way.proxy.inserts).toBe(1);
  way.proxy.always = "pass";
  way.shipper.retry();
  expect(await way.arrived()).toEqual({ rows: 18, once: 18 });
});
