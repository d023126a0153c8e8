import { existsSync } from "node:fs";
import { join } from "node:path";
import { COLUMNS, Ledger, readSegment } from "@otel-audit/ledger";
import type { ClosedSegment } from "@otel-audit/ledger";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { AuditWriter } from "./audit-writer.ts";
import { EmbeddedEngine } from "./embedded/index.ts";
import { ClickHouseHttp } from "./http.ts";
import { transposeToNative } from "./native/transpose.ts";
import { SegmentShipper } from "./segment-shipper.ts";
import type { ShipperState } from "./segment-shipper.ts";
import { FaultProxy } from "./testing/fault-proxy.ts";
import { append, auditSpan } from "./testing/spans.ts";

/** For a machine that is busy with other things. */
const PATIENCE = { timeout: 30_000, interval: 20 };

let dir: string;
let engine: EmbeddedEngine;
let http: ClickHouseHttp;
let proxy: FaultProxy;
let ledger: Ledger;
let writer: AuditWriter;
let shipper: SegmentShipper;
let states: ShipperState[];
let shipped: ClosedSegment[];
/** Numbers of segments in the order in which they were given to the writer. */
let begun: number[];
let ledgers = 0;

beforeAll(async () => {
  dir = tempDir("shipper");
  engine = await EmbeddedEngine.start({ dataDir: join(dir, "engine") });
  http = new ClickHouseHttp(engine.writer, 30_000);
});

afterAll(async () => {
  await http.close();
  await engine.stop();
});

beforeEach(async () => {
  proxy = await FaultProxy.start(engine.url);
  ledger = await Ledger.open({ dir: join(dir, `ledger-${ledgers++}`), maxSegmentAgeMs: 3_600_000 });
  writer = new AuditWriter({ ...engine.writer, url: proxy.url });
  states = [];
  shipped = [];
  begun = [];
  shipper = new SegmentShipper({
    ledger,
    writer: {
      writeSegment: (segment, isNew) => {
        begun.push(segment.number);
        return writer.writeSegment(segment, isNew);
      },
    },
    onState: (state) => states.push(state),
    onShipped: (segment) => shipped.push(segment),
    pollMs: 20,
    minBackoffMs: 20,
    maxBackoffMs: 100,
  });
});

afterEach(async () => {
  await shipper.stop();
  await writer.close();
  await ledger.close();
  await proxy.stop();
});

async function addSegment(count: number): Promise<ClosedSegment> {
  await append(
    ledger,
    Array.from({ length: count }, () => auditSpan()),
  );
  await ledger.rotate();
  const segment = ledger.closedSegments().at(-1);
  if (segment === undefined) throw new Error("no segment");
  return segment;
}

async function rowsInTable(): Promise<number> {
  const [row] = await http.query<{ rows: number }>(
    `SELECT toUInt32(count()) AS rows FROM otel_audit.audit_events WHERE StreamId = '${ledger.streamId}'`,
  );
  return row?.rows ?? -1;
}

test("ships what is closed, oldest first, and removes the files", async () => {
  const segments = [await addSegment(10), await addSegment(20), await addSegment(30)];
  shipper.start();
  await vi.waitFor(() => expect(shipped).toHaveLength(3), PATIENCE);
  expect(begun).toEqual(segments.map(({ number }) => number));
  await vi.waitFor(() => expect(ledger.closedSegments()).toHaveLength(0), PATIENCE);
  expect(segments.filter(({ path }) => existsSync(path))).toEqual([]);
  expect(await rowsInTable()).toBe(60);
  expect(states).toEqual([]);
});

test("drain closes the open segment and waits for the table", async () => {
  shipper.start();
  await append(ledger, [auditSpan(), auditSpan()]);
  expect(await shipper.drain(20_000)).toBe(true);
  expect(await rowsInTable()).toBe(2);
  expect(await shipper.drain(0)).toBe(true);
});

test("the server is away: degraded with a reason, files stay; it comes back: healthy, every row once", async () => {
  const { port } = new URL(proxy.url);
  await proxy.stop();
  const segment = await addSegment(40);
  shipper.start();
  await vi.waitFor(() => expect(states).toHaveLength(1), PATIENCE);
  expect(states[0]).toMatchObject({ status: "degraded", error: { code: "CONNECTION" }, stopped: [] });
  expect(await shipper.drain(50)).toBe(false);
  expect(existsSync(segment.path)).toBe(true);
  proxy = await FaultProxy.start(engine.url, Number(port));
  proxy.faults.push("cut-request", "drop-answer");
  expect(await shipper.drain(20_000)).toBe(true);
  await vi.waitFor(() => expect(shipper.state).toEqual({ status: "healthy" }), PATIENCE);
  expect(existsSync(segment.path)).toBe(false);
  expect(await rowsInTable()).toBe(40);
});

test("a segment of which the table has a part is stopped with an alarm; the others go on", async () => {
  const own = new SegmentShipper({
    // As if an earlier process had left the segments: of its own no table can have a part.
    ledger: {
      streamId: "of another process",
      closedSegments: () => ledger.closedSegments(),
      removeSegment: (segment) => ledger.removeSegment(segment),
      rotate: () => ledger.rotate(),
    },
    writer,
    onShipped: (segment) => shipped.push(segment),
  });
  const broken = await addSegment(10);
  const { rows, offsets } = await readSegment(broken.path);
  await http.insertNative({
    table: "otel_audit.audit_events",
    columns: COLUMNS.map(({ name }) => name),
    block: transposeToNative(rows, offsets.slice(0, 4), COLUMNS),
    compression: "none",
    settings: {},
    queryId: "part",
  });
  const good = await addSegment(5);
  own.start();
  expect(await own.drain(20_000)).toBe(false);
  await own.stop();
  expect(shipped).toEqual([good]);
  expect(existsSync(broken.path)).toBe(true);
  expect(own.state).toMatchObject({
    status: "degraded",
    error: { code: "PARTIAL_SEGMENT" },
    stopped: [broken.path],
  });
  expect(await rowsInTable()).toBe(8);
});

test("stop ends also during a pause, and a stopped shipper can start again", async () => {
  await proxy.stop();
  await addSegment(1);
  shipper.start();
  await vi.waitFor(() => expect(states).toHaveLength(1), PATIENCE);
  await shipper.stop();
  expect(ledger.closedSegments()).toHaveLength(1);
  expect(await shipper.drain(1_000)).toBe(false);
  await shipper.stop();
});

test("the engine is killed in the middle of inserts: after its restart every row is there once", async () => {
  const dataDir = join(dir, "killed");
  let victim = await EmbeddedEngine.start({ dataDir });
  // The database as another process finds it: the address changes, the shipper's target follows.
  let target = new AuditWriter(victim.writer);
  const own = new SegmentShipper({
    ledger,
    writer: { writeSegment: (segment, isNew) => target.writeSegment(segment, isNew) },
    pollMs: 10,
    minBackoffMs: 10,
    maxBackoffMs: 50,
  });
  for (let i = 0; i < 6; i++) await addSegment(2_000);
  own.start();
  for (const delay of [5, 30]) {
    await new Promise((resolve) => setTimeout(resolve, delay));
    const exited = new Promise<void>((resolve) => {
      victim.onExit(() => resolve());
    });
    process.kill(victim.pid, "SIGKILL");
    await exited;
    const before = target;
    victim = await EmbeddedEngine.start({ dataDir });
    target = new AuditWriter(victim.writer);
    await before.close();
  }
  expect(await own.drain(30_000)).toBe(true);
  await own.stop();
  const check = new ClickHouseHttp(victim.writer, 30_000);
  const rows = await check.query(
    `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(Sequence)) AS once FROM otel_audit.audit_events`,
  );
  expect(rows).toEqual([{ rows: 12_000, once: 12_000 }]);
  await check.close();
  await target.close();
  await victim.stop();
});
