// What the ledger's directory is opened with, and a start with a ClickHouse that takes connections and never answers.
import { createServer, type Socket } from "node:net";
import { DirectoryLock, LedgerDirectory } from "@otel-audit/ledger";
import pino from "pino";
import { expect, it } from "vitest";
import { z } from "zod";
import { tempDir } from "../../../../../test/support/index.ts";
import { listen } from "../../../../../test/support/listen.ts";
import { Collector } from "../../service/collector.ts";
import { clickhouseAuditConfig } from "./config.ts";
import { ledgerOptions } from "./directory.ts";
import { auditSpan, requestOf } from "../../testing/spans.ts";

function config(endpoint: string): string {
  return `receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
exporters:
  clickhouse_audit: { endpoint: "${endpoint}", shutdown_timeout: 0 }
  clickhouse_traces: { endpoint: "${endpoint}" }
service:
  pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit, clickhouse_traces] } }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
`;
}

it("one log line for alarms that requests raise as often as they like; every line of others; its own names for bounds", () => {
  const lines: { alarm: { code: string }; alarms: number }[] = [];
  const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]) });
  const { onAlarm, nameOf } = ledgerOptions(clickhouseAuditConfig.parse({ endpoint: "http://h" }), {
    id: "clickhouse_audit/x",
    dataDir: "",
    log,
  });
  for (let i = 0; i < 1_000; i++) {
    onAlarm!({ code: "CONFLICT", message: "" });
    onAlarm!({ code: "SYNC_FAILED", message: "" });
  }
  for (let i = 0; i < 3; i++) onAlarm!({ code: "DAMAGED", message: "" });
  expect(lines.map(({ alarm }) => alarm.code)).toEqual(["CONFLICT", "SYNC_FAILED", "DAMAGED", "DAMAGED", "DAMAGED"]);
  expect(nameOf!("maxLogBytes")).toBe("exporters::clickhouse_audit/x::log::max_bytes");
});

/** A setting's bounds, as the schema has them. */
interface Bounds {
  readonly properties?: Readonly<Record<string, Bounds>>;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** Everything that has bounds, at one of them. */
function atBound({ properties = {} }: Bounds, bound: "minimum" | "maximum"): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).flatMap(([name, inner]): [string, unknown][] => {
      if (inner.properties) return [[name, atBound(inner, bound)]];
      return inner[bound] === undefined ? [] : [[name, inner[bound]]];
    }),
  );
}

it.each(["minimum", "maximum"] as const)("the ledger takes every %s that the schema takes", async (bound) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the parts of JSON Schema that are looked at
  const bounds = z.toJSONSchema(clickhouseAuditConfig, { io: "input", unrepresentable: "any" }) as Bounds;
  const { segment, log: logLimits } = atBound(bounds, bound);
  expect(segment).toHaveProperty("max_bytes");
  expect(logLimits).toHaveProperty("max_pending_bytes");
  // The largest window has 2.5 GB.
  const parsed = clickhouseAuditConfig.parse({ endpoint: "http://h", segment, log: logLimits, window: 1 });
  const dataDir = tempDir("bounds");
  const lock = await DirectoryLock.acquire(dataDir);
  const directory = await LedgerDirectory.open(
    ledgerOptions(parsed, { id: "clickhouse_audit", dataDir, log: pino({ level: "silent" }) }),
  );
  await directory.close();
  await lock.release();
});

it("starts and acknowledges while ClickHouse never answers, and stops", async () => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.resume().on("error", () => undefined)));
  const endpoint = `http://127.0.0.1:${await listen(server)}`;
  const lines: string[] = [];
  const log = pino({}, { write: (line) => void lines.push(line) });
  const collector = await Collector.start(config(endpoint), { dataDir: tempDir("never-answers"), log });
  try {
    const response = await fetch(`${collector.endpoints.otlpHttp}/v1/traces`, {
      method: "POST",
      headers: { "content-type": "application/x-protobuf" },
      body: requestOf([auditSpan("r")]),
    });
    expect(response.status).toBe(200);
    expect(sockets.size).toBeGreaterThan(0);
    expect(lines.join("")).toContain("repetitions of records that only the table knows may be stored again");
    await collector.shutdown();
    // One that is open would keep the process alive.
    await expect.poll(() => [...sockets].filter((socket) => !socket.closed).length).toBe(0);
  } finally {
    await collector.shutdown();
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});
