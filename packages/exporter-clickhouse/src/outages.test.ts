import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { AuditWriter } from "./audit-writer.ts";
import { OneEngine, PATIENCE, Shipping } from "./testing/shipping.ts";
import { append, auditSpan } from "./testing/spans.ts";

/** ClickHouse away, slow or broken: what is said, what goes on meanwhile, and that every row is there once in the end. */
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

describe("an exception of the server", () => {
  test.each([
    ["disk_full", { code: 243, name: "NOT_ENOUGH_SPACE" }, /disk is full/],
    [
      "disk_full",
      { code: 75, name: "CANNOT_WRITE_TO_FILE_DESCRIPTOR", text: "errno: 28, No space left on device" },
      /disk is full/,
    ],
    ["read_only", { code: 242, name: "TABLE_IS_READ_ONLY" }, /read-only/],
    ["too_many_parts", { code: 252, name: "TOO_MANY_PARTS" }, /too many parts/],
    ["memory", { code: 241, name: "MEMORY_LIMIT_EXCEEDED" }, /out of memory/],
    ["quota", { code: 201, name: "QUOTA_EXCEEDED" }, /quota/],
    ["authentication", { code: 516, name: "AUTHENTICATION_FAILED" }, /user or the password/],
    ["access_denied", { code: 497, name: "ACCESS_DENIED" }, /does not grant/],
    ["schema", { code: 60, name: "UNKNOWN_TABLE" }, /not the one/],
    ["busy", { code: 202, name: "TOO_MANY_SIMULTANEOUS_QUERIES" }, /too busy/],
    ["server", { code: 49, name: "LOGICAL_ERROR" }, /answers with an error/],
  ] as const)(
    "%s (%o): said once with its reason, nothing lost, and over without a restart",
    async (reason, fault, text) => {
      way.proxy.always = fault;
      way.shipper = way.shipperWith({ minBackoffMs: 5, maxBackoffMs: 20 });
      await way.addSegment();
      await way.addSegment();
      way.shipper.start();
      await vi.waitFor(() => expect(way.failures.length).toBeGreaterThan(3), PATIENCE);
      await way.addSegment();
      expect(way.reasons()).toEqual([reason]);
      expect(way.shipper.state).toMatchObject({ status: "degraded", blocked: true, stopped: [] });
      expect(way.states[0]).toHaveProperty("reason", expect.stringMatching(text));
      expect(way.states[0]).toHaveProperty("reason", expect.stringContaining(fault.name));
      way.proxy.always = "pass";
      expect(await way.arrived()).toEqual({ rows: 9, once: 9 });
      expect(way.reasons()).toEqual([reason, "healthy"]);
    },
  );
});

test("connections are cut in the middle of a body or of an answer, answers are dropped: every row once", async () => {
  way.proxy.faults.push("cut-request", "cut-answer", "drop-answer", "cut-request", "cut-answer");
  for (let i = 0; i < 4; i++) await way.addSegment(50);
  way.shipper.start();
  expect(await way.arrived()).toEqual({ rows: 200, once: 200 });
  expect(new Set(way.failures.map(({ reason }) => reason))).toEqual(new Set(["unreachable"]));
});

test("a server that does not answer: appends are acknowledged meanwhile, the reason is the time, and a late insert adds nothing", async () => {
  await way.writer.close();
  way.writer = new AuditWriter({ ...one.engine.writer, url: way.proxy.url }, { requestTimeoutMs: 1_000 });
  way.proxy.always = "hold";
  await way.addSegment(40);
  way.shipper.start();
  await vi.waitFor(() => expect(way.proxy.inserts).toBeGreaterThan(0), PATIENCE);
  for (let i = 0; i < 50; i++) await append(way.ledger, [auditSpan()]);
  expect(way.shipped).toEqual([]);
  await vi.waitFor(() => expect(way.reasons()).toEqual(["timeout"]), PATIENCE);
  way.proxy.always = "pass";
  await vi.waitFor(() => expect(way.shipped).toHaveLength(1), PATIENCE);
  expect(await way.inTable()).toEqual({ rows: 40, once: 40 });
  // The insert that was given up was on its way all the time, and the server had not heard of it.
  way.proxy.release();
  await sleep(500);
  await way.ledger.rotate();
  expect(await way.arrived()).toEqual({ rows: 90, once: 90 });
});

test("a server that does not answer does not hold up the end: the next process finds what was cut off", async () => {
  way.proxy.always = "hold";
  await way.addSegment();
  await way.writer.close();
  way.writer = new AuditWriter({ ...one.engine.writer, url: way.proxy.url });
  way.shipper.start();
  await vi.waitFor(() => expect(way.proxy.inserts).toBe(1), PATIENCE);
  const stopped = way.shipper.stop();
  await way.writer.close();
  await stopped;
  expect(way.states).toEqual([]);
  way.proxy.always = "pass";
  way.writer = new AuditWriter({ ...one.engine.writer, url: way.proxy.url });
  way.shipper.start();
  expect(await way.arrived()).toEqual({ rows: 3, once: 3 });
  way.proxy.release();
  await sleep(200);
  expect(await way.inTable()).toEqual({ rows: 3, once: 3 });
});

test("a wrong password: said, and over when the right one comes, without a restart", async () => {
  let password = "wrong";
  await way.writer.close();
  way.writer = new AuditWriter(() => ({ ...one.engine.writer, password }));
  await way.addSegment();
  way.shipper.start();
  await vi.waitFor(() => expect(way.failures.length).toBeGreaterThan(1), PATIENCE);
  expect(way.reasons()).toEqual(["authentication"]);
  password = one.engine.writer.password;
  expect(await way.arrived()).toEqual({ rows: 3, once: 3 });
});
