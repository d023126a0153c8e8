import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { OneEngine, PATIENCE, Shipping } from "./testing/shipping.ts";

/** Segments that the server does not take, while it takes others. */
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

describe("one segment", () => {
  test.each(["first", "last"])(
    "(the %s) that the server refuses does not hold up the others, old or new",
    async (which) => {
      const before = which === "first" ? [] : [await way.addSegment(), await way.addSegment()];
      const bad = await way.addSegment();
      const after = which === "first" ? [await way.addSegment(), await way.addSegment()] : [];
      way.proxy.always = (request) =>
        request.includes(bad.hash) ? { code: 33, name: "CANNOT_READ_ALL_DATA" } : ("pass" as const);
      way.shipper.start();
      const stopped = { status: "degraded", error: { reason: "server" }, blocked: false, stopped: [bad.path] };
      await vi.waitFor(() => expect(way.shipped).toHaveLength(2), PATIENCE);
      for (let i = 3; i < 10; i++) {
        const fresh = await way.addSegment();
        way.shipper.wake();
        await vi.waitFor(() => expect(way.shipped).toContainEqual(fresh), PATIENCE);
      }
      await vi.waitFor(() => expect(way.shipper.state).toMatchObject(stopped), PATIENCE);
      expect(before.concat(after).every((one) => way.shipped.includes(one))).toBe(true);
      expect(await way.inTable()).toEqual({ rows: 27, once: 27 });
      const changes = way.states.length;
      const tries = way.failures.length;
      await vi.waitFor(() => expect(way.failures.length).toBeGreaterThan(tries + 2), PATIENCE);
      expect(way.states).toHaveLength(changes);
      way.proxy.always = "pass";
      expect(await way.arrived()).toEqual({ rows: 30, once: 30 });
    },
  );

  test("several of them neither", async () => {
    const bad: string[] = [];
    for (let i = 0; i < 12; i++) {
      const { hash } = await way.addSegment();
      if ([0, 1, 2, 3, 7].includes(i)) bad.push(hash);
    }
    way.proxy.always = (request) =>
      bad.some((hash) => request.includes(hash)) ? { code: 33, name: "CANNOT_READ_ALL_DATA" } : ("pass" as const);
    way.shipper.start();
    await vi.waitFor(() => expect(way.shipped).toHaveLength(7), PATIENCE);
    way.proxy.always = "pass";
    expect(await way.arrived()).toEqual({ rows: 36, once: 36 });
  });

  test("whose file was changed is left alone with an alarm, and goes when it is as it was", async () => {
    const bad = await way.addSegment();
    const bytes = readFileSync(bad.path);
    writeFileSync(
      bad.path,
      bytes.map((byte, at) => (at === bytes.length >> 1 ? byte ^ 1 : byte)),
    );
    const good = [await way.addSegment(), await way.addSegment()];
    way.shipper.start();
    await vi.waitFor(() => expect(way.shipped).toHaveLength(2), PATIENCE);
    const fresh = await way.addSegment();
    await vi.waitFor(() => expect(way.shipped).toHaveLength(3), PATIENCE);
    expect(new Set(way.shipped)).toEqual(new Set([...good, fresh]));
    const stopped = { blocked: false, error: { reason: "bad_segment" }, stopped: [bad.path] };
    await vi.waitFor(() => expect(way.shipper.state).toMatchObject(stopped), PATIENCE);
    expect(way.reasons()).toEqual(["bad_segment"]);
    writeFileSync(bad.path, bytes);
    expect(await way.arrived()).toEqual({ rows: 12, once: 12 });
  });
});
