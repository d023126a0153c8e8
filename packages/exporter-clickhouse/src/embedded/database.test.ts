import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { schemaStatements } from "../schema.ts";
import { Database, prepareFolders } from "./database.ts";

/**
 * The engine alone, without the gate before it: guarantee 7 says that the engine itself refuses, so these statements reach
 * it as they are. chDB runs in this test's own process here.
 */
let database: Database;
let outside: string;

beforeAll(async () => {
  const dir = tempDir("database");
  outside = join(dir, "outside");
  mkdirSync(outside);
  database = await Database.open(prepareFolders(dir), "otel_audit", schemaStatements());
  const rows = `SELECT 'kept' AS TraceId, now64(9) AS Timestamp FROM numbers(10)`;
  await run(`INSERT INTO otel_traces (TraceId, Timestamp) ${rows}`, false);
});

afterAll(() => database.close());

async function run(sql: string, readOnly: boolean): Promise<string> {
  const settings = new Map([
    ["max_execution_time", "20"],
    ["max_memory_usage", "1000000000"],
  ]);
  const statement = { sql, format: "TSV", settings, parameters: new Map<string, string>(), readOnly, tag: "test" };
  return Buffer.from((await database.run(statement)).bytes).toString("utf8");
}

const DESTRUCTIVE = [
  "ALTER TABLE otel_traces UPDATE SpanName = 'x' WHERE 1",
  "ALTER TABLE otel_traces DELETE WHERE 1",
  "DELETE FROM otel_traces WHERE 1",
  "UPDATE otel_traces SET SpanName = 'x' WHERE 1",
  "TRUNCATE TABLE otel_traces",
  "TRUNCATE DATABASE otel_audit",
  "DROP TABLE otel_traces",
  "DROP TABLE IF EXISTS otel_traces SYNC",
  "DROP DATABASE otel_audit",
  "DROP VIEW audit_events_once",
  "OPTIMIZE TABLE otel_traces FINAL",
  "OPTIMIZE TABLE otel_traces FINAL DEDUPLICATE",
  "DETACH TABLE otel_traces",
  "DETACH TABLE otel_traces PERMANENTLY",
  "DETACH DATABASE otel_audit",
  "RENAME TABLE otel_traces TO gone",
  "RENAME DATABASE otel_audit TO gone",
  "EXCHANGE TABLES otel_traces AND audit_events",
  "CREATE TABLE more (a UInt8) ENGINE = Memory",
  "CREATE OR REPLACE TABLE otel_traces (a UInt8) ENGINE = Memory",
  "REPLACE TABLE otel_traces (a UInt8) ENGINE = Memory",
  "CREATE DATABASE more",
  "CREATE VIEW more AS SELECT 1",
  "CREATE MATERIALIZED VIEW more TO audit_seals AS SELECT * FROM audit_seals",
  "CREATE FUNCTION more AS (x) -> x",
  "CREATE USER more",
  "CREATE ROLE more",
  "CREATE ROW POLICY hide ON otel_traces USING 0 TO ALL",
  "CREATE NAMED COLLECTION more AS a = 1",
  "CREATE DICTIONARY more (a UInt64) PRIMARY KEY a SOURCE(NULL()) LAYOUT(FLAT()) LIFETIME(0)",
  "CREATE TEMPORARY TABLE more (a UInt8)",
  "ALTER TABLE otel_traces ADD COLUMN more UInt8",
  "ALTER TABLE otel_traces DROP COLUMN SpanName",
  "ALTER TABLE otel_traces CLEAR COLUMN SpanName",
  "ALTER TABLE otel_traces MODIFY COLUMN SpanName Int8",
  "ALTER TABLE otel_traces RENAME COLUMN SpanName TO gone",
  "ALTER TABLE otel_traces MODIFY TTL toDateTime(Timestamp) + INTERVAL 1 SECOND",
  "ALTER TABLE otel_traces MODIFY SETTING ttl_only_drop_parts = 0",
  "ALTER TABLE otel_traces DROP PARTITION ALL",
  "ALTER TABLE otel_traces DROP PART 'all_1_1_0'",
  "ALTER TABLE otel_traces DETACH PARTITION ALL",
  "ALTER TABLE otel_traces REPLACE PARTITION tuple() FROM audit_events",
  "ALTER TABLE otel_traces MOVE PARTITION tuple() TO TABLE audit_events",
  "ALTER TABLE otel_traces FREEZE",
  "ALTER TABLE otel_traces MATERIALIZE TTL",
  "ALTER TABLE otel_traces APPLY DELETED MASK",
  "ALTER DATABASE otel_audit MODIFY SETTING max_broken_tables_ratio = 1",
  "GRANT ALL ON *.* TO default",
  "GRANT ALTER DELETE ON otel_audit.* TO default",
  "REVOKE SELECT ON otel_audit.* FROM default",
  "ALTER USER default IDENTIFIED BY 'x'",
  "SYSTEM STOP MERGES otel_traces",
  "SYSTEM DROP MARK CACHE",
  "SYSTEM FLUSH LOGS",
  "SYSTEM SHUTDOWN",
  "BACKUP DATABASE otel_audit TO File('/tmp/otel-audit-test-backup')",
  "RESTORE DATABASE otel_audit FROM File('/tmp/otel-audit-test-backup')",
  "INSERT INTO system.one SELECT 1",
  "INSERT INTO FUNCTION file('/tmp/otel-audit-test-file', 'TSV', 'a UInt8') SELECT 1",
  "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'TSV', 'a UInt8') SELECT 1",
  "SELECT * FROM file('/etc/passwd', 'LineAsString')",
  "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
  "SELECT * FROM remote('127.0.0.1:1', 'a', 'b')",
  "SELECT * FROM executable('x', 'TSV', 'a UInt8')",
  "SELECT * FROM system.users",
  "SELECT * FROM default.`/etc/passwd`",
];

describe.each([
  ["the writer's sessions", false],
  ["the readers' sessions", true],
])("the engine in %s", (_role, readOnly) => {
  it.each(DESTRUCTIVE)("refuses %s", async (sql) => {
    const before = await run("SELECT count(), sum(cityHash64(*)) FROM otel_traces", true);
    expect(before).toMatch(/^10\t/);
    // Not granted, read-only, or (RESTORE) not configured; a statement that merely fails to parse would prove nothing.
    await expect(run(sql, readOnly)).rejects.toThrow(/^Code: (497|164|318)\./);
    expect(await run("SELECT count(), sum(cityHash64(*)) FROM otel_traces", true)).toBe(before);
  });
});

describe("the engine in the readers' sessions", () => {
  it.each([
    "INSERT INTO otel_traces (TraceId) VALUES ('x')",
    "SET readonly = 0",
    "SET max_execution_time = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1 SETTINGS readonly = 0",
  ])("refuses %s", async (sql) => {
    await expect(run(sql, true)).rejects.toThrow(/Code: 164\./);
  });

  it("forgets everything between two statements", async () => {
    const none = new Map<string, string>();
    const base = { format: "TSV", readOnly: true, tag: "test" };
    await database.run({
      ...base,
      sql: "SELECT {x:UInt8}",
      settings: new Map([["max_threads", "1"]]),
      parameters: new Map([["x", "5"]]),
    });
    await expect(database.run({ ...base, sql: "SELECT {x:UInt8}", settings: none, parameters: none })).rejects.toThrow(
      /456/,
    );
  });
});

it("the engine's parser says what reads only", async () => {
  expect(await database.readsOnly("SELECT 1", "reader")).toBe(true);
  for (const sql of [
    "SELECT 1; SELECT 2",
    "SELECT 1 INTO OUTFILE 'x'",
    "SET a = 1",
    "KILL QUERY WHERE 1",
    "DROP TABLE x",
  ]) {
    expect(await database.readsOnly(sql, "reader")).toBe(false);
  }
  await expect(database.canonical("SELECT 1; SELECT 2", "reader")).rejects.toThrow(/Multi-statements/);
  expect(await database.canonical("select /* c */ `file`('x')", "reader")).toBe("SELECT file('x')");
  expect(readdirSync(outside)).toEqual([]);
});
