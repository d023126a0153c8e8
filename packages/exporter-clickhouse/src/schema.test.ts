import { Session } from "chdb";
import { COLUMNS } from "@otel-audit/ledger";
import { ATTRIBUTE_COLUMNS } from "@otel-audit/semantic-conventions";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { schemaStatements } from "./schema.ts";
import { TRACE_COLUMNS } from "./traces/columns.ts";

interface ColumnRow {
  name: string;
  type: string;
  kind: string;
  comment: string;
}

let dir: string;
let session: Session;

beforeAll(() => {
  dir = tempDir("schema");
  session = new Session(dir);
  // Twice: a start finds what an earlier one made.
  for (const statement of [...schemaStatements(), ...schemaStatements()]) session.query(statement);
});

afterAll(() => {
  session.close();
});

function rows<T>(sql: string): T[] {
  const text = session.query(sql, "JSONEachRow").trim();
  return text === "" ? [] : text.split("\n").map((line): T => JSON.parse(line));
}

function columns(table: string): ColumnRow[] {
  return rows(
    `SELECT name, type, default_kind AS kind, comment FROM system.columns ` +
      `WHERE database = 'otel_audit' AND table = '${table}' ORDER BY position`,
  );
}

test("audit_events has exactly the columns of the ledger's row format", () => {
  const stored = columns("audit_events").filter(({ kind }) => kind === "");
  expect(stored.map(({ name, type }) => ({ name, type }))).toEqual(COLUMNS);
});

test("nothing but ALIAS columns stands beside them, and every column is explained", () => {
  const all = columns("audit_events");
  const others = all.filter(({ kind }) => kind !== "");
  expect(others.map(({ name, kind }) => `${kind} ${name}`)).toEqual([
    "ALIAS EffectiveDecision",
    "ALIAS Blocked",
    "ALIAS Violation",
    "ALIAS AllAttributes",
  ]);
  expect(all.filter(({ comment }) => comment === "")).toEqual([]);
});

test("otel_traces has upstream's columns, and audit_events all of them", () => {
  const traces = columns("otel_traces").map(({ name, type }) => ({ name, type }));
  expect(traces).toEqual(TRACE_COLUMNS);
  expect(COLUMNS).toEqual(expect.arrayContaining(traces));
});

test("AllAttributes gives back every attribute that has a column", () => {
  const list = ATTRIBUTE_COLUMNS.map(({ attribute, column, type }) => ({
    attribute,
    column,
    array: type === "string[]",
  }));
  expect(list.length).toBeGreaterThan(20);
  const stored = list.map(({ column, array }) => ({ column, value: array ? `['v-${column}']` : `'v-${column}'` }));
  session.query(
    `INSERT INTO otel_audit.audit_events (${stored.map(({ column }) => column).join(", ")}) ` +
      `VALUES (${stored.map(({ value }) => value).join(", ")})`,
  );
  const [row] = rows<{ AllAttributes: Record<string, string> }>(
    `SELECT AllAttributes FROM otel_audit.audit_events WHERE Action = 'v-Action'`,
  );
  const expected = list.map(({ attribute, column, array }) => [attribute, array ? `["v-${column}"]` : `v-${column}`]);
  expect(row?.AllAttributes).toEqual(Object.fromEntries(expected));
});

function insertCopies(
  id: string,
  copies: readonly { second: number; stream: number; hash: string; flags?: number }[],
): void {
  const values = copies.map(
    ({ second, stream, hash }, i) =>
      `('${id}', 'p', ${i}, '00000000-0000-0000-0000-00000000000${stream}', toDateTime64(${second}, 9), '${hash.padEnd(16)}')`,
  );
  session.query(
    `INSERT INTO otel_audit.audit_events (RecordId, Principal, Sequence, StreamId, ReceivedAt, ContentHash) SETTINGS deduplicate_insert = 'disable' VALUES ${values.join(", ")}`,
  );
}

test("the views count once, show what repeats, and tell a conflict from a repetition", () => {
  insertCopies("single", [{ second: 10, stream: 1, hash: "a" }]);
  insertCopies("twice", [
    { second: 20, stream: 2, hash: "a" },
    { second: 10, stream: 1, hash: "a" },
  ]);
  insertCopies("conflict", [
    { second: 10, stream: 1, hash: "a" },
    { second: 20, stream: 1, hash: "b" },
  ]);
  // The very same row twice, as a segment that was inserted again would make it.
  insertCopies("replayed", [{ second: 10, stream: 3, hash: "a" }]);
  insertCopies("replayed", [{ second: 10, stream: 3, hash: "a" }]);
  // The same id under another principal is another record.
  session.query("INSERT INTO otel_audit.audit_events (RecordId, Principal) VALUES ('single', 'other')");
  const ids = "RecordId IN ('single', 'twice', 'conflict', 'replayed')";
  expect(
    rows(
      `SELECT RecordId, Principal, toUnixTimestamp(ReceivedAt) AS at FROM otel_audit.audit_events_once WHERE ${ids} ORDER BY ALL`,
    ),
  ).toEqual([
    { RecordId: "conflict", Principal: "p", at: 10 },
    { RecordId: "conflict", Principal: "p", at: 20 },
    { RecordId: "replayed", Principal: "p", at: 10 },
    { RecordId: "single", Principal: "other", at: 0 },
    { RecordId: "single", Principal: "p", at: 10 },
    { RecordId: "twice", Principal: "p", at: 10 },
  ]);
  expect(
    rows(
      `SELECT RecordId, toUInt32(Copies) AS n, toUInt32(Contents) AS c FROM otel_audit.audit_duplicates ORDER BY RecordId`,
    ),
  ).toEqual([
    { RecordId: "conflict", n: 2, c: 2 },
    { RecordId: "replayed", n: 2, c: 1 },
    { RecordId: "twice", n: 2, c: 1 },
  ]);
  expect(rows(`SELECT RecordId FROM otel_audit.audit_conflicts`)).toEqual([{ RecordId: "conflict" }]);
});

/** A record as VALUES take it. */
const outcome = (
  id: string,
  outcome: string,
  more: {
    of?: string;
    principal?: string;
    producer?: string;
    span?: string;
    action?: string;
    target?: string;
    start?: number;
  },
): string =>
  `('${id}', '${outcome}', '${more.principal ?? "p"}', 'agent:a', '${more.span ?? id.slice(0, 2)}', ` +
  `map('audit.producer.id', '${more.producer ?? "thread"}'), ` +
  `${more.of === undefined ? "map()" : `map('audit.record.supersedes', '${more.of}')`}, '${id.padEnd(16)}', ` +
  `${more.start ?? 1}, '${more.action ?? "DELETE"}', '${more.target ?? "file:///a"}', ['${more.target ?? "file:///a"}'])`;
const insertOutcomes = (...values: string[]): unknown =>
  session.query(
    "INSERT INTO otel_audit.audit_events (RecordId, Outcome, Principal, ActorId, SpanId, ResourceAttributes, " +
      `SpanAttributes, ContentHash, Timestamp, Action, TargetId, WriteTargets) SETTINGS deduplicate_insert = 'disable' VALUES ${values.join(", ")}`,
  );

test("an outcome that came late takes the place of unknown, but only for those who made the intent", () => {
  insertOutcomes(outcome("o1-intent", "unknown", {}), outcome("o1-late", "failure", { of: "o1-intent" }));
  // Sent twice, and superseded: none of the copies is left.
  insertOutcomes(
    outcome("o2-intent", "unknown", {}),
    outcome("o2-intent", "unknown", {}),
    outcome("o2-late", "success", { of: "o2-intent" }),
  );
  // An outcome that is known gives way to nothing.
  insertOutcomes(outcome("o3-done", "success", {}), outcome("o3-late", "failure", { of: "o3-done" }));
  insertOutcomes(
    outcome("o4-intent", "unknown", {}),
    outcome("o4-late", "success", { of: "o4-intent", principal: "stranger" }),
  );
  insertOutcomes(
    outcome("o5-intent", "unknown", {}),
    outcome("o5-late", "success", { of: "o5-intent", producer: "another" }),
  );
  insertOutcomes(outcome("o6-intent", "unknown", {}), outcome("o6-late", "success", { of: "o6-intent", span: "zz" }));
  insertOutcomes(
    outcome("o7-intent", "unknown", { producer: "" }),
    outcome("o7-late", "success", { of: "o7-intent", producer: "" }),
  );
  // Neither does another unknown one hide it.
  insertOutcomes(outcome("o8-intent", "unknown", {}), outcome("o8-late", "unknown", { of: "o8-intent" }));
  // Nor one that says that it was another action, on something else, at another time.
  insertOutcomes(
    outcome("oa-intent", "unknown", {}),
    outcome("oa-late", "success", { of: "oa-intent", action: "READ" }),
    outcome("ob-intent", "unknown", {}),
    outcome("ob-late", "success", { of: "ob-intent", target: "file:///harmless" }),
    outcome("oc-intent", "unknown", {}),
    outcome("oc-late", "success", { of: "oc-intent", start: 2 }),
  );
  const once =
    "SELECT RecordId FROM otel_audit.audit_events_once WHERE match(RecordId, '^o[0-9a-c]-') ORDER BY RecordId";
  expect(rows<{ RecordId: string }>(once).map(({ RecordId }) => RecordId)).toEqual([
    "o1-late",
    "o2-late",
    "o3-done",
    "o3-late",
    "o4-intent",
    "o4-late",
    "o5-intent",
    "o5-late",
    "o6-intent",
    "o6-late",
    "o7-intent",
    "o7-late",
    "o8-intent",
    "o8-late",
    "oa-intent",
    "oa-late",
    "ob-intent",
    "ob-late",
    "oc-intent",
    "oc-late",
  ]);
});

test("Blocked and Violation", () => {
  session.query(
    `INSERT INTO otel_audit.audit_events (RecordId, Outcome, ErrorType, PolicyDecision, CollectorDecision) VALUES
      ('v1', 'failure', 'policy_denied', 'deny', ''), ('v2', 'success', '', 'deny', ''),
      ('v3', 'success', '', 'allow', 'deny'), ('v4', 'success', '', 'deny', 'allow')`,
  );
  expect(
    rows(
      `SELECT RecordId, Blocked, Violation, EffectiveDecision AS decision FROM otel_audit.audit_events WHERE RecordId LIKE 'v_' ORDER BY RecordId`,
    ),
  ).toEqual([
    { RecordId: "v1", Blocked: true, Violation: false, decision: "deny" },
    { RecordId: "v2", Blocked: false, Violation: true, decision: "deny" },
    { RecordId: "v3", Blocked: false, Violation: true, decision: "deny" },
    { RecordId: "v4", Blocked: false, Violation: false, decision: "allow" },
  ]);
});

test("what is inserted is on disk before the answer, and repeats are known", () => {
  const [table] = rows<{ create_table_query: string }>(
    `SELECT create_table_query FROM system.tables WHERE database = 'otel_audit' AND name = 'audit_events'`,
  );
  expect(table?.create_table_query).toContain("fsync_after_insert = 1");
  expect(table?.create_table_query).toContain("fsync_part_directory = 1");
  expect(table?.create_table_query).toContain("min_rows_to_fsync_after_merge = 1");
  expect(table?.create_table_query).toContain("non_replicated_deduplication_window = 10000");
});

test("a cluster gets replicated local tables and Distributed ones before them", () => {
  const statements = schemaStatements({ cluster: "main", database: "audit-1" });
  for (const statement of statements) {
    expect(statement).toContain("ON CLUSTER main");
    expect(statement).not.toContain("{{");
  }
  const text = statements.join(";\n");
  expect(text).toContain("CREATE TABLE IF NOT EXISTS `audit-1`.audit_events_local ON CLUSTER main");
  expect(text).toContain("ENGINE = ReplicatedMergeTree");
  expect(text).toContain("ENGINE = Distributed('main', 'audit-1', 'audit_events_local', sipHash64(StreamId))");
  expect(text).toContain("replicated_deduplication_window");
  expect(text).not.toContain("non_replicated_deduplication_window");
  // The engine's own parser takes every one of them.
  for (const statement of statements) {
    expect(
      session.queryBind("SELECT formatQuerySingleLine({sql:String}) != '' AS ok", { sql: statement }, "CSV").trim(),
    ).toBe("1");
  }
});

test.each(["", "a b", "x;DROP", "a`b"])("database %j is refused", (database) => {
  expect(() => schemaStatements({ database })).toThrow(/^database /);
});

test("a filter by time finds what a scan finds, whatever time a producer claims", () => {
  const seconds = [-2_208_988_800, -1, 0, 1_795_000_000, 5_662_310_400, 6_000_000_000, 9_223_372_036];
  for (const second of seconds) {
    // A part of its own each, so that the primary key decides.
    session.query(
      `INSERT INTO otel_audit.audit_events (RecordId, Timestamp) VALUES ('time${second}', fromUnixTimestamp64Nano(toInt64('${second}000000000')))`,
    );
  }
  for (const bound of seconds) {
    const since = `Timestamp >= fromUnixTimestamp64Nano(toInt64('${bound}000000000'))`;
    const found = rows<{ n: number }>(
      `SELECT toUInt32(count()) AS n FROM otel_audit.audit_events WHERE startsWith(RecordId, 'time') AND ${since}`,
    );
    expect(found).toEqual([{ n: seconds.filter((second) => second >= bound).length }]);
  }
});
