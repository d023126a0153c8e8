// The table loses what was counted there: between two starts, and while the collector runs.
import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Session } from "chdb";
import pino from "pino";
import { afterEach, expect, it, vi } from "vitest";
import { tempDir } from "../../../../../test/support/index.ts";
import { Collector } from "../../service/collector.ts";
import { auditSpan, requestOf } from "../../testing/spans.ts";

const CONFIG = `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" } }
exporters: { clickhouse_audit: { engine: clickhouse_embedded, window: 10000, segment: { max_age: 10ms } } }
service:
  workers: 2
  extensions: [clickhouse_embedded]
  pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit] } }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
`;
const PATIENCE = { timeout: 30_000, interval: 50 };

interface Line {
  readonly msg: string;
  readonly alarm?: { readonly code: string; readonly message: string };
}

let running: Collector | undefined;
afterEach(() => running?.shutdown());

/** A collector over the same directory again and again, and what its log says of lost records. */
class Trail {
  readonly dataDir = join(tempDir("table-loss"), "data");
  readonly losses: string[] = [];
  readonly said: string[] = [];

  get engine(): string {
    return join(this.dataDir, "engine");
  }

  async start(): Promise<Collector> {
    const write = (text: string): void => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line of the log
      const { msg, alarm } = JSON.parse(text) as Line;
      this.said.push(msg);
      if (alarm?.code === "TABLE_LOST") this.losses.push(alarm.message);
    };
    running = await Collector.start(CONFIG, { dataDir: this.dataDir, log: pino({}, { write }) });
    return running;
  }

  /** A slow machine's start does not wait for it. */
  async lost(times: number): Promise<void> {
    await vi.waitUntil(() => this.losses.length === times, PATIENCE);
  }

  /** What happens to the engine's files by other hands than ours. */
  alter(...statements: string[]): void {
    const session = new Session(this.engine);
    try {
      for (const statement of statements) session.query(statement);
    } finally {
      session.close();
    }
  }
}

async function send(collector: Collector, from: number, to: number): Promise<void> {
  const spans = Array.from({ length: to - from }, (_, i) => auditSpan(`r${from + i}`));
  const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/x-protobuf" },
    body: requestOf(spans),
  });
  expect([response.status, await response.text()]).toEqual([200, ""]);
}

/** Rows, and records, of the table once everything has arrived there. */
async function stored(collector: Collector): Promise<string> {
  expect(await collector.drain()).toBe(true);
  const sql = "SELECT count(), uniqExact(RecordId) FROM audit_events FORMAT CSV";
  const answer = await fetch(collector.endpoints.sql!, { method: "POST", body: sql });
  return (await answer.text()).trim();
}

/** Ten records that only the table has. */
async function shipped(): Promise<Trail> {
  const trail = new Trail();
  const collector = await trail.start();
  await send(collector, 0, 10);
  expect(await stored(collector)).toBe("10,10");
  await collector.shutdown();
  expect(trail.losses).toEqual([]);
  return trail;
}

it("nothing is told where nothing is lost; what is in the table is known", async () => {
  const trail = await shipped();
  const collector = await trail.start();
  await send(collector, 0, 10);
  expect(await stored(collector)).toBe("10,10");
  await collector.shutdown();
  expect(trail.losses).toEqual([]);
});

it.each<[how: string, lose: (trail: Trail) => void]>([
  ["dropped", ({ engine }) => rmSync(engine, { recursive: true })],
  ["emptied", (trail) => trail.alter("TRUNCATE TABLE otel_audit.audit_events")],
])("a table that was %s between two starts: told once, and what was shipped is stored again", async (_how, lose) => {
  const trail = await shipped();
  lose(trail);
  const collector = await trail.start();
  await trail.lost(1);
  await send(collector, 0, 10);
  await send(collector, 0, 12);
  expect(await stored(collector)).toBe("12,12");
  expect(trail.losses).toEqual([
    expect.stringMatching(/^otel_audit\.audit_events has lost .* it has nothing that is older/),
  ]);
  await collector.shutdown();
  const next = await trail.start();
  await send(next, 0, 13);
  expect(await stored(next)).toMatch(/,13$/);
  expect(trail.losses).toHaveLength(1);
});

it("an older copy of the table: what it has is still known, what came later is stored again", async () => {
  const trail = await shipped();
  const copy = join(trail.dataDir, "..", "copy");
  cpSync(trail.engine, copy, { recursive: true });
  const later = await trail.start();
  await send(later, 10, 20);
  expect(await stored(later)).toBe("20,20");
  await later.shutdown();
  rmSync(trail.engine, { recursive: true });
  renameSync(copy, trail.engine);
  trail.said.length = 0;
  const collector = await trail.start();
  await expect.poll(() => trail.said, PATIENCE).toContain("the table's newest records are known");
  expect(trail.losses).toEqual([expect.stringContaining("of older ones those up to 20")]);
  await send(collector, 0, 20);
  expect(await stored(collector)).toBe("20,20");
});

it("a table that keeps records for a shorter time than they are old has lost none", async () => {
  const trail = await shipped();
  trail.alter(
    "ALTER TABLE otel_audit.audit_events MODIFY TTL toDateTime(ReceivedAt) + INTERVAL 0 SECOND",
    "TRUNCATE TABLE otel_audit.audit_events",
  );
  const collector = await trail.start();
  expect(trail.losses).toEqual([]);
  await send(collector, 0, 10);
  expect(await stored(collector)).toBe("0,0");
});

it("a table that is lost while the collector runs: told, and what was shipped is stored again, before a restart and after", async () => {
  const trail = new Trail();
  const collector = await trail.start();
  await send(collector, 0, 10);
  expect(await stored(collector)).toBe("10,10");
  renameSync(trail.engine, `${trail.engine}-gone`);
  process.kill(collector.enginePid!, "SIGKILL");
  await send(collector, 10, 20);
  await trail.lost(1);
  await send(collector, 0, 20);
  // What had come in by then may be there twice.
  expect(await stored(collector)).toMatch(/,20$/);
  await collector.shutdown();
  const next = await trail.start();
  await send(next, 0, 21);
  expect(await stored(next)).toMatch(/,21$/);
  expect(trail.losses).toHaveLength(1);
});
