import { mkdtempSync, rmSync, writeFileSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Session } from "chdb";
import { Ledger } from "@otel-audit/ledger";
import type { ClosedSegment } from "@otel-audit/ledger";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { AuditWriter } from "./audit-writer.ts";
import { EmbeddedEngine } from "./embedded/index.ts";
import type { ClickHouseError } from "./errors.ts";
import { ClickHouseHttp } from "./http.ts";
import { schemaStatements } from "./schema.ts";
import { SegmentShipper } from "./segment-shipper.ts";
import type { ShipperState } from "./segment-shipper.ts";
import { FaultProxy } from "./testing/fault-proxy.ts";
import { append, auditSpan } from "./testing/spans.ts";

/** ClickHouse away, slow or broken: what is said, what goes on meanwhile, and that every row is there once in the end. */
const PATIENCE = { timeout: 30_000, interval: 10 };

let dir: string;
let engine: EmbeddedEngine;
let http: ClickHouseHttp;
let proxy: FaultProxy;
let ledger: Ledger;
let writer: AuditWriter;
let shipper: SegmentShipper;
let states: ShipperState[];
let failures: ClickHouseError[];
let shipped: ClosedSegment[];
let ledgers = 0;
/** Of an engine that is there in one test only. */
let tables: string;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "outage-"));
  engine = await EmbeddedEngine.start({ dataDir: join(dir, "engine") });
  http = new ClickHouseHttp(engine.writer, 30_000);
});

afterAll(async () => {
  await http.close();
  await engine.stop();
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(async () => {
  proxy = await FaultProxy.start(engine.url);
  ledger = await Ledger.open({ dir: join(dir, `ledger-${ledgers++}`), maxSegmentAgeMs: 3_600_000 });
  writer = new AuditWriter({ ...engine.writer, url: proxy.url }, { requestTimeoutMs: 1_000 });
  states = [];
  failures = [];
  shipped = [];
  shipper = shipperWith({ minBackoffMs: 20, maxBackoffMs: 100 });
});

afterEach(async () => {
  proxy.always = "pass";
  proxy.release();
  await shipper.stop();
  await writer.close();
  await ledger.close();
  await proxy.stop();
});

function shipperWith(pauses: { minBackoffMs: number; maxBackoffMs: number }): SegmentShipper {
  return new SegmentShipper({
    ledger,
    writer: { writeSegment: (segment, isNew) => writer.writeSegment(segment, isNew) },
    onState: (state) => states.push(state),
    onFailure: (error) => failures.push(error),
    onShipped: (segment) => shipped.push(segment),
    pollMs: 20,
    ...pauses,
  });
}

async function addSegment(count = 3): Promise<ClosedSegment> {
  await append(
    ledger,
    Array.from({ length: count }, () => auditSpan()),
  );
  await ledger.rotate();
  const segment = ledger.closedSegments().at(-1);
  if (segment === undefined) throw new Error("no segment");
  return segment;
}

async function inTable(): Promise<{ rows: number; once: number }> {
  const [row] = await http.query<{ rows: number; once: number }>(
    `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(Sequence)) AS once FROM otel_audit.audit_events ` +
      `WHERE StreamId = '${ledger.streamId}'`,
  );
  return row ?? { rows: -1, once: -1 };
}

const reasons = (): string[] => states.map((state) => (state.status === "healthy" ? "healthy" : state.error.reason));

/** Everything is in the table, once, and the shipper says so. */
async function expectAll(rows: number): Promise<void> {
  await vi.waitFor(() => expect(ledger.closedSegments()).toHaveLength(0), PATIENCE);
  expect(await inTable()).toEqual({ rows, once: rows });
  await vi.waitFor(() => expect(shipper.state).toEqual({ status: "healthy" }), PATIENCE);
}

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
      proxy.always = fault;
      shipper = shipperWith({ minBackoffMs: 5, maxBackoffMs: 20 });
      await addSegment();
      await addSegment();
      shipper.start();
      await vi.waitFor(() => expect(failures.length).toBeGreaterThan(3), PATIENCE);
      await addSegment();
      expect(reasons()).toEqual([reason]);
      expect(shipper.state).toMatchObject({ status: "degraded", blocked: true, stopped: [] });
      expect(states[0]).toHaveProperty("reason", expect.stringMatching(text));
      expect(states[0]).toHaveProperty("reason", expect.stringContaining(fault.name));
      proxy.always = "pass";
      await expectAll(9);
      expect(reasons()).toEqual([reason, "healthy"]);
    },
  );
});

test("connections are cut in the middle of a body or of an answer, answers are dropped: every row once", async () => {
  proxy.faults.push("cut-request", "cut-answer", "drop-answer", "cut-request", "cut-answer");
  for (let i = 0; i < 4; i++) await addSegment(50);
  shipper.start();
  await expectAll(200);
  expect(new Set(failures.map(({ reason }) => reason))).toEqual(new Set(["unreachable"]));
});

test("a server that does not answer: appends are acknowledged meanwhile, the reason is the time, and a late insert adds nothing", async () => {
  proxy.always = "hold";
  await addSegment(40);
  shipper.start();
  await vi.waitFor(() => expect(proxy.inserts).toBe(1), PATIENCE);
  for (let i = 0; i < 50; i++) await append(ledger, [auditSpan()]);
  expect(shipped).toEqual([]);
  await vi.waitFor(() => expect(reasons()).toEqual(["timeout"]), PATIENCE);
  proxy.always = "pass";
  await vi.waitFor(() => expect(shipped).toHaveLength(1), PATIENCE);
  expect(await inTable()).toEqual({ rows: 40, once: 40 });
  // The insert that was given up was on its way all the time, and the server had not heard of it.
  proxy.release();
  await sleep(500);
  await ledger.rotate();
  await expectAll(90);
});

test("a server that does not answer does not hold up the end: the next process finds what was cut off", async () => {
  proxy.always = "hold";
  await addSegment();
  await writer.close();
  writer = new AuditWriter({ ...engine.writer, url: proxy.url });
  shipper.start();
  await vi.waitFor(() => expect(proxy.inserts).toBe(1), PATIENCE);
  const stopped = shipper.stop();
  await writer.close();
  await stopped;
  expect(states).toEqual([]);
  proxy.always = "pass";
  writer = new AuditWriter({ ...engine.writer, url: proxy.url });
  shipper.start();
  await expectAll(3);
  proxy.release();
  await sleep(200);
  expect(await inTable()).toEqual({ rows: 3, once: 3 });
});

describe("one segment", () => {
  test.each(["first", "last"])(
    "(the %s) that the server refuses does not hold up the others, old or new",
    async (which) => {
      const before = which === "first" ? [] : [await addSegment(), await addSegment()];
      const bad = await addSegment();
      const after = which === "first" ? [await addSegment(), await addSegment()] : [];
      proxy.always = (request) =>
        request.includes(bad.hash) ? { code: 33, name: "CANNOT_READ_ALL_DATA" } : ("pass" as const);
      shipper.start();
      const stopped = { status: "degraded", error: { reason: "server" }, blocked: false, stopped: [bad.path] };
      await vi.waitFor(() => expect(shipped).toHaveLength(2), PATIENCE);
      for (let i = 3; i < 10; i++) {
        const fresh = await addSegment();
        shipper.wake();
        await vi.waitFor(() => expect(shipped).toContainEqual(fresh), PATIENCE);
      }
      await vi.waitFor(() => expect(shipper.state).toMatchObject(stopped), PATIENCE);
      expect(before.concat(after).every((one) => shipped.includes(one))).toBe(true);
      expect(await inTable()).toEqual({ rows: 27, once: 27 });
      const changes = states.length;
      const tries = failures.length;
      await vi.waitFor(() => expect(failures.length).toBeGreaterThan(tries + 2), PATIENCE);
      expect(states).toHaveLength(changes);
      proxy.always = "pass";
      await expectAll(30);
    },
  );

  test("several of them neither", async () => {
    const bad: string[] = [];
    for (let i = 0; i < 12; i++) {
      const { hash } = await addSegment();
      if ([0, 1, 2, 3, 7].includes(i)) bad.push(hash);
    }
    proxy.always = (request) =>
      bad.some((hash) => request.includes(hash)) ? { code: 33, name: "CANNOT_READ_ALL_DATA" } : ("pass" as const);
    shipper.start();
    await vi.waitFor(() => expect(shipped).toHaveLength(7), PATIENCE);
    proxy.always = "pass";
    await expectAll(36);
  });

  test("whose file was changed is left alone with an alarm, and goes when it is as it was", async () => {
    const bad = await addSegment();
    const bytes = readFileSync(bad.path);
    writeFileSync(
      bad.path,
      bytes.map((byte, at) => (at === bytes.length >> 1 ? byte ^ 1 : byte)),
    );
    const good = [await addSegment(), await addSegment()];
    shipper.start();
    await vi.waitFor(() => expect(shipped).toHaveLength(2), PATIENCE);
    const fresh = await addSegment();
    await vi.waitFor(() => expect(shipped).toHaveLength(3), PATIENCE);
    expect(new Set(shipped)).toEqual(new Set([...good, fresh]));
    expect(shipper.state).toMatchObject({ blocked: false, error: { reason: "bad_segment" }, stopped: [bad.path] });
    expect(reasons()).toEqual(["bad_segment"]);
    writeFileSync(bad.path, bytes);
    await expectAll(12);
  });
});

test("a backlog does not starve what is closed now, and keeps its order", async () => {
  const { port } = new URL(proxy.url);
  await proxy.stop();
  const old: string[] = [];
  for (let i = 0; i < 30; i++) old.push((await addSegment()).path);
  shipper.start();
  await vi.waitFor(() => expect(reasons()).toEqual(["unreachable"]), PATIENCE);
  proxy = await FaultProxy.start(engine.url, Number(port));
  await vi.waitFor(() => expect(shipped.length).toBeGreaterThan(0), PATIENCE);
  const fresh = await addSegment();
  shipper.wake();
  await vi.waitFor(() => expect(shipped).toContainEqual(fresh), PATIENCE);
  expect(shipped.length).toBeLessThan(25);
  await expectAll(93);
  // Two side by side, and the very first ones were those that found out.
  const order = shipped.filter(({ path }) => path !== fresh.path).map(({ path }) => old.indexOf(path));
  for (const [at, index] of order.slice(2).entries()) expect(Math.abs(index - (at + 2))).toBeLessThanOrEqual(2);
  expect(reasons()).toEqual(["unreachable", "healthy"]);
});

test("while the engine is down it is asked for often, and it is found at once when it is back, whatever the pauses", async () => {
  let up = false;
  await writer.close();
  writer = new AuditWriter(() => {
    if (!up) throw new Error("the embedded engine is not running");
    return { ...engine.writer, url: proxy.url };
  });
  shipper = shipperWith({ minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
  await addSegment();
  await addSegment();
  shipper.start();
  await vi.waitFor(() => expect(failures.length).toBeGreaterThan(5), PATIENCE);
  expect(reasons()).toEqual(["engine_down"]);
  up = true;
  await expectAll(6);
});

test("a pause after a failure is not cut short by segments that close, but by who knows better", async () => {
  shipper = shipperWith({ minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
  proxy.always = { code: 252, name: "TOO_MANY_PARTS" };
  await addSegment();
  shipper.start();
  await vi.waitFor(() => expect(reasons()).toEqual(["too_many_parts"]), PATIENCE);
  for (let i = 0; i < 5; i++) {
    await addSegment();
    shipper.wake();
    await sleep(20);
  }
  expect(proxy.inserts).toBe(1);
  proxy.always = "pass";
  shipper.retry();
  await expectAll(18);
});

test("a wrong password: said, and over when the right one comes, without a restart", async () => {
  let password = "wrong";
  await writer.close();
  writer = new AuditWriter(() => ({ ...engine.writer, password }));
  await addSegment();
  shipper.start();
  await vi.waitFor(() => expect(failures.length).toBeGreaterThan(1), PATIENCE);
  expect(reasons()).toEqual(["authentication"]);
  password = engine.writer.password;
  await expectAll(3);
});

describe("a table that is not ours", () => {
  let current: EmbeddedEngine | undefined;

  beforeEach(async () => {
    tables = join(dir, `tables-${ledgers}`);
    await writer.close();
    writer = new AuditWriter(() => {
      if (current === undefined) throw new Error("the embedded engine is not running");
      return current.writer;
    });
  });

  afterEach(() => current?.stop());

  /** Runs statements with all rights, as somebody does who owns the server. */
  async function alter(...statements: string[]): Promise<void> {
    const before = current;
    current = undefined;
    await before?.stop();
    const session = new Session(join(tables, "engine"));
    try {
      for (const statement of statements) session.query(statement);
    } finally {
      session.close();
    }
    current = await EmbeddedEngine.start({ dataDir: tables });
  }

  async function rows(): Promise<string> {
    const { url = "" } = current ?? {};
    const answer = await fetch(url, { method: "POST", body: "SELECT count(), uniqExact(Sequence) FROM audit_events" });
    return answer.text();
  }

  test("names the columns that are missing or of another type; younger ones are fine; it is over when it is mended", async () => {
    await alter(
      ...schemaStatements(),
      "ALTER TABLE otel_audit.audit_events DROP COLUMN ScopeVersion",
      "ALTER TABLE otel_audit.audit_events MODIFY COLUMN Duration Int64",
      "ALTER TABLE otel_audit.audit_events ADD COLUMN Younger String",
    );
    await addSegment();
    shipper.start();
    await vi.waitFor(() => expect(reasons()).toEqual(["schema"]), PATIENCE);
    expect(shipper.state).toHaveProperty(
      "reason",
      expect.stringMatching(/column ScopeVersion \(String\); column Duration is Int64, it has to be UInt64/),
    );
    await alter(
      "ALTER TABLE otel_audit.audit_events ADD COLUMN ScopeVersion String",
      "ALTER TABLE otel_audit.audit_events MODIFY COLUMN Duration UInt64",
    );
    await vi.waitFor(() => expect(shipper.state).toEqual({ status: "healthy" }), PATIENCE);
    expect(await rows()).toBe("3\t3\n");
    expect(reasons().filter((reason) => reason !== "engine_down" && reason !== "unreachable")).toEqual([
      "schema",
      "healthy",
    ]);
  });

  test("replaced while segments wait: what waits goes into the new one, once", async () => {
    await alter(...schemaStatements());
    const first = await addSegment();
    shipper.start();
    await vi.waitFor(() => expect(shipped).toEqual([first]), PATIENCE);
    const emptied = alter("DROP TABLE otel_audit.audit_events SYNC", ...schemaStatements());
    for (let i = 0; i < 3; i++) await addSegment();
    await emptied;
    await vi.waitFor(() => expect(shipped).toHaveLength(4), PATIENCE);
    expect(await rows()).toBe("9\t9\n");
  });
});
