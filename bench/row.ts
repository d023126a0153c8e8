// Rows per second from the bytes of a request to the disk (encode, hash, frame, group commit), beside the naive path in
// the same run: decode the request to objects, JSON.stringify each span, hash it, append the lines, fdatasync.
// Run: node bench/row.ts

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ledger, type LedgerStats } from "@otel-audit/ledger";
import { type SpanIndex, SPAN_AUDIT, decodeTraces, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";

const SPANS = 512;
const REQUESTS = 60;
/** Requests that are on their way at the same time, as a collector has them. */
const LANES = 4;
const ROUNDS = 7;

interface Cost {
  readonly cpu: number;
  readonly wall: number;
}

function span(i: number): Uint8Array {
  return encodeSpan({
    traceId: (i >> 3).toString(16).padStart(32, "7"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
    parentSpanId: "00f067aa0ba902b7",
    name: "db.statement SELECT",
    kind: 3,
    startTimeUnixNano: 1_795_000_000_000_000_000n + BigInt(i) * 1_000_000n,
    endTimeUnixNano: 1_795_000_000_000_400_000n + BigInt(i) * 1_000_000n,
    attributes: {
      "audit.record.id": `01j${i.toString(36).padStart(23, "0")}`,
      "audit.event.name": "db.statement",
      "audit.action": i % 5 === 0 ? "UPDATE" : "READ",
      "audit.outcome": "success",
      "audit.actor.id": `agent:support-${i % 40}`,
      "audit.actor.type": "agent",
      "audit.on_behalf_of.id": `user:${i % 1000}`,
      "gen_ai.workflow.name": "refund",
      "audit.workflow.id": `wf-${i >> 6}`,
      "audit.target.type": "database.table",
      "audit.target.id": `postgresql://db.internal/app/public.orders_${(i * 7919) % 2000}`,
      "audit.policy.decision": "allow",
      "audit.policy.enforcement": "observed",
      "audit.policy.id": "support",
      "audit.policy.rule.id": "lookup",
      "audit.record.origin": "effect",
      "audit.schema.version": "1.0.0",
      "db.system.name": "postgresql",
      "db.operation.name": "SELECT",
      "db.response.returned_rows": i % 100,
      "server.address": "db.internal",
      "server.port": 5432,
    },
  });
}

function requests(): SpanIndex[] {
  return Array.from({ length: REQUESTS }, (_, request) => {
    const bodies = Array.from({ length: SPANS }, (_, i) => span(request * SPANS + i));
    const resource = { "service.name": "refund-agent", "process.pid": 4711, "host.name": "agents-1" };
    return scanTraces(frameSpans(resource, { name: "@otel-audit/instrumentation-node", version: "0.1.0" }, bodies));
  });
}

async function measure(run: () => Promise<void>): Promise<Cost> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await run();
  const used = process.cpuUsage(cpu);
  const rows = SPANS * REQUESTS;
  return { cpu: (used.user + used.system) / rows, wall: ((performance.now() - start) * 1000) / rows };
}

/** Takes the requests in turn, several at a time. */
async function inLanes(all: readonly SpanIndex[], append: (index: SpanIndex) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < all.length; i = next++) await append(all[i]!);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function ours(all: readonly SpanIndex[], dir: string): Promise<Cost & { stats: LedgerStats }> {
  const ledger = await Ledger.open({ dir, maxSegmentAgeMs: 60_000 });
  const facts = { provenance: "asserted", principal: "", tenantId: "" } as const;
  const cost = await measure(() => inLanes(all, (index) => ledger.append(index, SPAN_AUDIT, facts)));
  const stats = ledger.stats();
  if (stats.openRows !== SPANS * REQUESTS) throw new Error(`${stats.openRows} rows are in the log`);
  await ledger.close();
  return { ...cost, stats };
}

async function naive(all: readonly SpanIndex[], file: string): Promise<Cost> {
  const log = await open(file, "wx");
  const cost = await measure(() =>
    inLanes(all, async (index) => {
      let lines = "";
      for (const { resource, scopeSpans } of decodeTraces(index.bytes).resourceSpans) {
        for (const { scope, spans } of scopeSpans) {
          for (const one of spans) {
            const json = JSON.stringify({ resource, scope, span: one }, (_, value: unknown) =>
              typeof value === "bigint" ? String(value) : value,
            );
            lines += `${createHash("sha256").update(json).digest("hex")} ${json}\n`;
          }
        }
      }
      await log.write(lines);
      await log.datasync();
    }),
  );
  await log.close();
  return cost;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const directory = mkdtempSync(join(tmpdir(), "otel-audit-bench-"));
try {
  const all = requests();
  const costs = { ours: [] as Cost[], naive: [] as Cost[] };
  let bytes = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    const own = await ours(all, join(directory, `ledger-${round}`));
    const other = await naive(all, join(directory, `naive-${round}`));
    bytes = own.stats.openBytes / own.stats.openRows;
    // The first round warms up.
    if (round === 0) continue;
    costs.ours.push(own);
    costs.naive.push(other);
  }
  console.log(`${SPANS * REQUESTS} audit spans in requests of ${SPANS}, ${bytes.toFixed(0)} bytes a row`);
  for (const [name, list] of Object.entries(costs)) {
    const cpu = median(list.map((cost) => cost.cpu));
    const wall = median(list.map((cost) => cost.wall));
    console.log(
      `${name.padEnd(6)} ${cpu.toFixed(2)} µs CPU, ${wall.toFixed(2)} µs wall a row (${Math.round(1e6 / wall)} rows/s)`,
    );
  }
  const ratio = (key: keyof Cost): string =>
    (median(costs.naive.map((cost) => cost[key])) / median(costs.ours.map((cost) => cost[key]))).toFixed(1);
  console.log(`ratio  ${ratio("cpu")} in CPU, ${ratio("wall")} in time`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
