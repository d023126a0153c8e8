// CPU per inserted audit row, ours and the engine's: a segment as one Native block against JSONEachRow from objects. What the
// engine spends afterwards to merge parts is the same for both, and stands apart. Options: --rows of an insert (20000: a second
// of a busy collector; what a statement costs by itself is half of that), --rounds.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { AuditWriter, EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { decodeRow, Ledger, readSegment } from "@otel-audit/ledger";
import type { ClosedSegment } from "@otel-audit/ledger";
import { encodeTraces, scanTraces, SPAN_AUDIT } from "@otel-audit/otlp";
import type { SpanData } from "@otel-audit/otlp";
import { helpOf } from "../test/support/index.ts";

helpOf(import.meta.filename);
const { values: options } = parseArgs({ options: { rows: { type: "string" }, rounds: { type: "string" } } });
const ROWS = Number(options.rows ?? 20_000);
const WARM_UP = 3;
const ROUNDS = Number(options.rounds ?? 11);
/** Of a request. */
const SPANS = 1000;
if (!(ROWS > 0 && ROWS <= 250_000 && ROWS % SPANS === 0))
  throw new Error(`--rows ${ROWS}: whole thousands up to 250000`);
/** Linux counts process times in hundredths of a second. */
const TICK_US = 10_000;

interface Cost {
  readonly own: number;
  readonly engine: number;
}

function span(i: number): SpanData {
  return {
    traceId: (i >> 3).toString(16).padStart(32, "7"),
    spanId: (i + 1).toString(16).padStart(16, "0"),
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
      "gen_ai.workflow.name": "refund",
      "audit.workflow.id": `wf-${i >> 6}`,
      "audit.target.type": "database.table",
      "audit.target.id": `postgresql://db.internal/app/public.orders_${(i * 7919) % 2000}`,
      "audit.policy.decision": "allow",
      "audit.policy.enforcement": "observed",
      "audit.policy.rule.id": "lookup",
      "audit.record.origin": "effect",
      "audit.schema.version": "1.0.0",
      "db.namespace": "app",
      "db.operation.name": "SELECT",
      "db.query.summary": "SELECT orders",
      "db.system.name": "postgresql",
      "server.address": "db.internal",
      "server.port": 5432,
    },
  };
}

/** A closed segment of `ROWS` rows that the table does not know yet. */
async function segment(ledger: Ledger, round: number): Promise<ClosedSegment> {
  for (let first = 0; first < ROWS; first += SPANS) {
    const spans = Array.from({ length: SPANS }, (_, i) => span(round * ROWS + first + i));
    const request = encodeTraces({
      resourceSpans: [{ resource: { attributes: { "service.name": "support" } }, scopeSpans: [{ spans }] }],
    });
    await ledger.append(scanTraces(request), SPAN_AUDIT, { provenance: "asserted", principal: "", tenantId: "" });
  }
  await ledger.rotate();
  const closed = ledger.closedSegments().at(-1);
  if (closed?.count !== ROWS) throw new Error(`a segment of ${closed?.count} rows instead of ${ROWS}`);
  return closed;
}

async function objects(closed: ClosedSegment): Promise<Record<string, unknown>[]> {
  const { rows, offsets } = await readSegment(closed.path);
  return Array.from({ length: closed.count }, (_, i) => {
    const { row } = decodeRow(rows, offsets[i]!);
    return {
      ...row,
      ContentHash: String(i).padStart(16, "0"),
      ReceivedAt: seconds(row["ReceivedAt"]),
      Timestamp: seconds(row["Timestamp"]),
    };
  });
}

/** A time as JSON input takes it. */
function seconds(nanoseconds: unknown): string {
  const digits = String(nanoseconds);
  return `${digits.slice(0, -9)}.${digits.slice(-9)}`;
}

async function insertJson(engine: EmbeddedEngine, rows: readonly Record<string, unknown>[]): Promise<void> {
  const { url, username, password } = engine.writer;
  const body = rows
    .map((row) => JSON.stringify(row, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)))
    .join("\n");
  const query = encodeURIComponent("INSERT INTO otel_audit.audit_events FORMAT JSONEachRow");
  const response = await fetch(`${url}/?query=${query}&async_insert=0`, {
    method: "POST",
    body,
    headers: { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` },
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
}

function engineMicroseconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

async function measure(engine: EmbeddedEngine, work: () => Promise<void>): Promise<Cost> {
  const engineBefore = engineMicroseconds(engine.pid);
  const ownBefore = process.cpuUsage();
  await work();
  const own = process.cpuUsage(ownBefore);
  return { own: (own.user + own.system) / ROWS, engine: (engineMicroseconds(engine.pid) - engineBefore) / ROWS };
}

/** Waits until the engine merges no more. */
async function settle(engine: EmbeddedEngine): Promise<void> {
  let last = engineMicroseconds(engine.pid);
  for (let quiet = 0; quiet < 3;) {
    await sleep(100);
    const now = engineMicroseconds(engine.pid);
    quiet = now - last > TICK_US ? 0 : quiet + 1;
    last = now;
  }
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function median(costs: readonly Cost[]): Cost {
  return { own: middle(costs.map(({ own }) => own)), engine: middle(costs.map(({ engine }) => engine)) };
}

function print(name: string, { own, engine }: Cost): void {
  const figures = [own, engine, own + engine].map((value) => value.toFixed(1).padStart(8));
  process.stdout.write(`${name.padEnd(28)}${figures.join("")}\n`);
}

const dir = mkdtempSync(join(tmpdir(), "bench-insert-"));
const engine = await EmbeddedEngine.start({ dataDir: join(dir, "engine") });
const ledger = await Ledger.open({ dir: join(dir, "ledger"), maxSegmentAgeMs: 3_600_000 });
const writer = new AuditWriter(engine.writer);
const native: Cost[] = [];
const json: Cost[] = [];
const engineAtStart = engineMicroseconds(engine.pid);
let inserting = 0;
for (let round = 0; round < WARM_UP + ROUNDS; round++) {
  const first = await segment(ledger, round * 2);
  await settle(engine);
  const nativeCost = await measure(engine, () => writer.writeSegment(first));
  const rows = await objects(await segment(ledger, round * 2 + 1));
  await settle(engine);
  const jsonCost = await measure(engine, () => insertJson(engine, rows));
  inserting += nativeCost.engine + jsonCost.engine;
  if (round < WARM_UP) continue;
  native.push(nativeCost);
  json.push(jsonCost);
}
await settle(engine);
const merging = (engineMicroseconds(engine.pid) - engineAtStart) / ROWS - inserting;
await writer.close();
await ledger.close();
await engine.stop();
rmSync(dir, { recursive: true, force: true });

const [ours, peer] = [median(native), median(json)];
process.stdout.write(`${"CPU µs a row".padEnd(28)}${"ours".padStart(8)}${"engine".padStart(8)}${"both".padStart(8)}\n`);
print("Native, read to counted", ours);
print("JSONEachRow from objects", peer);
process.stdout.write(
  `Native costs ${((ours.own + ours.engine) / (peer.own + peer.engine)).toFixed(2)} of JSONEachRow, ` +
    `in the engine alone ${(ours.engine / peer.engine).toFixed(2)}\n`,
);
process.stdout.write(
  `merging parts afterwards, a row of either, in the engine: ${(merging / ((WARM_UP + ROUNDS) * 2)).toFixed(1)}\n`,
);
