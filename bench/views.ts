// Time of the views over audit_events beside the table itself: a million rows, a thousand of them repeated, a thousand replaced.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schemaStatements } from "@otel-audit/exporter-clickhouse";
import { Session } from "chdb";

const ROWS = Number(process.argv[2] ?? 1_000_000);
const ROUNDS = 5;
const dir = mkdtempSync(join(tmpdir(), "bench-views-"));
const session = new Session(dir);
for (const statement of schemaStatements()) session.query(statement);

const EVENTS = "otel_audit.audit_events";
for (let batch = 0; batch < 10; batch++) {
  const n = `(number + ${(batch * ROWS) / 10})`;
  session.query(
    `INSERT INTO ${EVENTS} (RowFormat, Sequence, ReceivedAt, Timestamp, ContentHash, TraceId, SpanId, SpanName, ServiceName,
       ResourceAttributes, SpanAttributes, RecordId, EventName, Action, Outcome, ActorId, ActorType, TargetType, TargetId)
     SELECT 1, ${n}, now64(9) - 86400, now64(9) - 86400 + number / 100, toFixedString(unhex(hex(MD5(toString(${n})))), 16),
       lower(hex(MD5(toString(intDiv(${n}, 8))))), lower(hex(sipHash64(${n}))), 'GET', 'support',
       map('service.name', 'support', 'host.name', 'h1', 'process.pid', '12', 'audit.producer.id', toString(number % 50)),
       map('http.request.method', 'GET', 'server.address', 'example.com', 'url.full', concat('https://example.com/', toString(${n}))),
       toString(generateUUIDv7(${n})), 'http.request', 'READ', if(${n} % 1000 = 7, 'unknown', 'success'),
       concat('agent:', toString(number % 200)), 'agent', 'http.endpoint', concat('https://example.com/', toString(number % 5000))
     FROM numbers(${ROWS / 10})`,
  );
}
session.query(`INSERT INTO ${EVENTS} SELECT * FROM ${EVENTS} WHERE Sequence % 1000 = 5`);
session.query(
  `INSERT INTO ${EVENTS} SELECT * REPLACE (concat('late-', RecordId) AS RecordId, 'success' AS Outcome,
     mapUpdate(SpanAttributes, map('audit.record.supersedes', RecordId)) AS SpanAttributes)
   FROM (SELECT * FROM ${EVENTS} WHERE Outcome = 'unknown')`,
);

function time(name: string, sql: string): void {
  const times: number[] = [];
  let answer = "";
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    answer = session.query(sql, "CSV").trim();
    times.push(performance.now() - start);
  }
  const median = times.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? Number.NaN;
  process.stdout.write(`${name.padEnd(36)}${median.toFixed(0).padStart(7)} ms   ${answer}\n`);
}

time("audit_events, one agent", `SELECT count() FROM ${EVENTS} WHERE ActorId = 'agent:7'`);
time("audit_events, keys of all rows", `SELECT uniqExact(sipHash64(Principal, RecordId, ContentHash)) FROM ${EVENTS}`);
time("audit_events_once, all", `SELECT count() FROM otel_audit.audit_events_once`);
time("audit_events_once, one agent", `SELECT count() FROM otel_audit.audit_events_once WHERE ActorId = 'agent:7'`);
time("audit_duplicates", `SELECT count() FROM otel_audit.audit_duplicates`);
time("audit_conflicts", `SELECT count() FROM otel_audit.audit_conflicts`);
session.close();
rmSync(dir, { recursive: true, force: true });
