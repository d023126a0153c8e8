// Guarantee 7 from where a reader stands: the SQL port of the collector that runs.
import { afterAll, beforeAll, expect, it } from "vitest";
import { startTrail, type Trail } from "./apps/trail.ts";
import { tempDir } from "./support/index.ts";

let trail: Trail;
let before: unknown[];
beforeAll(async () => {
  trail = await startTrail("append-only");
  await trail.run("nested-actions.ts", { service: "kept", env: { DIR: tempDir("kept") } });
  await trail.records("kept");
  before = await table();
});
afterAll(() => trail[Symbol.asyncDispose]());

const table = (): Promise<unknown[]> => trail.collector.sql("SELECT * FROM audit_events ORDER BY StreamId, Sequence");

/** As any HTTP client may ask; `parameters` go into the URL, as ClickHouse has it. */
async function ask(sql: string, parameters: Record<string, string> = {}): Promise<{ status: number; text: string }> {
  const url = new URL(trail.collector.endpoints.sql);
  for (const [name, value] of Object.entries({ database: "otel_audit", ...parameters }))
    url.searchParams.set(name, value);
  const response = await fetch(url, { method: "POST", body: sql });
  return { status: response.status, text: await response.text() };
}

it("answers what reads", async () => {
  expect(before.length).toBeGreaterThan(20);
  expect(await ask("SELECT count() > 0 FROM audit_events")).toEqual({ status: 200, text: "1\n" });
});

it.each([
  "ALTER TABLE audit_events UPDATE ActorId = 'nobody' WHERE 1",
  "ALTER TABLE audit_events DELETE WHERE 1",
  "ALTER TABLE audit_events DROP PARTITION ID 'all'",
  "ALTER TABLE audit_events DROP COLUMN ActorId",
  "ALTER TABLE audit_events MODIFY TTL toDateTime(ReceivedAt)",
  "DELETE FROM audit_events WHERE 1",
  "UPDATE audit_events SET ActorId = 'nobody' WHERE 1",
  "TRUNCATE TABLE audit_events",
  "DROP TABLE audit_events",
  "DROP DATABASE otel_audit",
  "DETACH TABLE audit_events",
  "RENAME TABLE audit_events TO gone",
  "CREATE OR REPLACE TABLE audit_events (a UInt8) ENGINE = Memory",
  "CREATE TABLE more (a UInt8) ENGINE = Memory",
  "OPTIMIZE TABLE audit_events FINAL",
  "OPTIMIZE TABLE audit_events FINAL DEDUPLICATE BY ActorId",
  "INSERT INTO audit_events SELECT * FROM audit_events",
  "INSERT INTO audit_events (RecordId) VALUES ('forged')",
  'INSERT INTO audit_events FORMAT JSONEachRow {"RecordId":"forged"}',
  "INSERT INTO audit_seals (Segment) VALUES (1)",
  "SYSTEM STOP MERGES",
  "KILL QUERY WHERE 1",
  "SELECT 1 FROM audit_events INTO OUTFILE '/tmp/otel-audit-outfile'",
  "SET readonly = 0",
  "SELECT 1; TRUNCATE TABLE audit_events",
])("refuses %s", async (sql) => {
  const { status, text } = await ask(sql);
  expect(text).toMatch(/^Code: \d+\. DB::Exception: /);
  expect(status).toBeGreaterThanOrEqual(400);
  // Nor with the settings and the names that one would try next.
  expect((await ask(sql, { readonly: "0", allow_ddl: "1" })).status).toBeGreaterThanOrEqual(400);
  expect((await ask(sql, { user: "writer", password: "" })).status).toBeGreaterThanOrEqual(400);
  expect(await table()).toEqual(before);
});
