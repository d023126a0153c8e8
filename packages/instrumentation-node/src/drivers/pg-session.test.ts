import type * as Pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type Postgres, startPostgres } from "../../../../test/support/index.ts";
import { type Recorder, record } from "../testing/recorder.ts";
import { property } from "../unknown.ts";
import { pgDriver } from "./pg.ts";
import { Session } from "./pg-session.ts";
import { classifySql } from "../sql/classify.ts";

// What names without schema, and prepared names, mean on a connection.

const DENY = `
policy: test
mode: enforce
default: allow
resources:
  salaries: { db: "**/hr.salaries" }
rules:
  - { id: no-salaries, deny: { resource: salaries } }
`;

let server: Postgres;
let recorder: Recorder;
let client: Pg.Client;
let base: string;

beforeAll(async () => {
  server = await startPostgres({
    sql: "CREATE SCHEMA hr; CREATE TABLE hr.salaries (n int); CREATE TABLE hr.other (n int); CREATE TABLE orders (n int); CREATE TABLE salaries (n int);",
  });
  base = `postgresql://127.0.0.1:${server.port}/postgres`;
});
afterAll(() => server.close());

beforeEach(async () => {
  recorder = await record([pgDriver], DENY);
  client = await connect();
});
afterEach(async () => {
  await client.query("DISCARD ALL");
  await client.end();
  recorder[Symbol.dispose]();
});

async function connect(): Promise<Pg.Client> {
  const { default: pg } = await import("pg");
  const opened = new pg.Client(server.url);
  await opened.connect();
  return opened;
}

const READ = (table: string): string => `READ success ${base}/${table}`;
const STOPPED = expect.objectContaining({ code: "EAUDITDENIED", rule: "no-salaries" });

/** The tables of the last record. */
async function tablesOf(sql: string): Promise<unknown> {
  recorder.take();
  await client.query(sql).catch(() => {});
  const [attributes] = recorder.takeAttributes();
  return attributes?.["audit.target.read_ids"] ?? [attributes?.["audit.target.id"]];
}

test("a name without schema is in the schema that the path was set to", async () => {
  await client.query("SELECT * FROM salaries");
  await client.query("SET search_path TO hr");
  await client.query("SELECT * FROM other");
  expect(recorder.take()).toEqual([READ("public.salaries"), `UPDATE success ${base}`, READ("hr.other")]);
  await expect(client.query("SELECT * FROM salaries")).rejects.toEqual(STOPPED);
  await client.query("RESET search_path");
  expect((await client.query("SELECT * FROM salaries")).rowCount).toBe(0);
});

test.each([
  "SET search_path = hr, public",
  "SET SCHEMA 'hr'",
  "SELECT set_config('search_path', 'hr', false)",
  "SELECT set_config('search_' || 'path', 'hr', false)",
  "UPDATE pg_settings SET setting = 'hr' WHERE name = 'search_path'",
])("%s is no way past a rule about a table in it", async (sql) => {
  await client.query(sql);
  await expect(client.query("SELECT * FROM salaries")).rejects.toEqual(STOPPED);
});

test("nor is it while it is under way, or in the same text", async () => {
  const all = await Promise.allSettled([
    client.query("SET search_path TO hr"),
    client.query("SELECT * FROM salaries"),
    client.query("RESET search_path"),
  ]);
  expect(all[1]).toMatchObject({ status: "rejected", reason: STOPPED });
  await expect(client.query("SET search_path TO hr; SELECT * FROM salaries")).rejects.toEqual(STOPPED);
  // What was stopped changed nothing.
  await client.query("SELECT * FROM salaries");
});

test("a transaction's path ends with it", async () => {
  await client.query("BEGIN");
  await client.query("SET LOCAL search_path TO hr");
  await expect(client.query("SELECT * FROM salaries")).rejects.toEqual(STOPPED);
  await client.query("COMMIT");
  expect(await tablesOf("SELECT * FROM salaries")).toEqual([`${base}/public.salaries`]);
});

test("SQL's own prepared statements are what was prepared", async () => {
  await client.query("PREPARE one AS SELECT * FROM orders WHERE n = $1");
  recorder.take();
  await client.query("EXECUTE one(1)");
  expect(recorder.takeAttributes()).toMatchObject([
    { "audit.action": "READ", "audit.target.id": `${base}/public.orders`, "db.query.summary": "EXECUTE SELECT orders" },
  ]);
  // Not known any more: it could be anything.
  await client.query("DEALLOCATE ALL");
  await expect(client.query("EXECUTE one(1)")).rejects.toEqual(STOPPED);
  await expect(client.query("PREPARE two AS SELECT * FROM hr.salaries")).rejects.toEqual(STOPPED);
  await expect(client.query("EXECUTE two")).rejects.toEqual(STOPPED);
});

test("a PREPARE that failed does not say what a name means", async () => {
  recorder[Symbol.dispose]();
  const quiet = await connect();
  await quiet.query("PREPARE hidden AS SELECT * FROM hr.salaries");
  recorder = await record([pgDriver], DENY);
  // The server's session is shared in these tests: the name is taken.
  await expect(client.query("PREPARE hidden AS SELECT * FROM orders")).rejects.toMatchObject({ code: "42P05" });
  await expect(client.query("EXECUTE hidden")).rejects.toEqual(STOPPED);
  await quiet.end();
});

test("DROP SCHEMA … CASCADE is a DELETE of what is in it", async () => {
  await expect(client.query("DROP SCHEMA hr CASCADE")).rejects.toEqual(STOPPED);
  expect(recorder.take()).toEqual([`DELETE failure policy_denied ${base}/hr.*`]);
  await client.query("DROP SCHEMA IF EXISTS nothing CASCADE");
  expect(recorder.take()).toEqual([`DELETE success ${base}/nothing.*`]);
});

// A server that does not report its path, as PostgreSQL 17 and older.
const HOST = { host: "db", port: 5432, database: "app" };

function targets(session: Session, sql = "SELECT * FROM t"): string {
  const { targets: all } = session.action(classifySql(sql));
  return all.map(({ id }) => id.replace("postgresql://db/app/", "")).join(" ");
}

test.each([
  [undefined, "public.t"],
  ["-c statement_timeout=1", "public.t"],
  ["-c search_path=hr", "hr.t"],
  ["--search-path=hr,other", "hr.t other.t"],
  ['-csearch_path=a -c search_path=hr\\,\\ "X"', "hr.t X.t"],
  ['-c search_path="$user"', "pg_catalog.t"],
  ["-c search_path", "*.t"],
])("options %s: %s", (options, is) => {
  expect(targets(new Session(HOST, options))).toBe(is);
});

test("without word from the server a changed path is all that it may be", () => {
  const session = new Session(HOST, undefined);
  const run = (sql: string, outcome: "success" | "failure" | undefined): string => {
    const classification = classifySql(sql);
    session.announce(classification.effects ?? [], undefined);
    const meanwhile = targets(session);
    session.conclude(classification, outcome);
    return `${meanwhile} | ${targets(session)}`;
  };
  expect(run("SET search_path TO hr", "success")).toBe("public.t hr.t | public.t hr.t");
  expect(run("SET search_path TO a, b", undefined)).toBe("public.t hr.t a.t b.t | public.t hr.t a.t b.t");
  expect(run("SELECT set_config('search_path', $1, false)", "failure")).toBe("*.t | *.t");
  session.report("search_path", '"$user", public');
  expect(targets(session)).toBe("public.t");
  session.report("TimeZone", "hr");
  session.report("search_path", "a, b, c, d, e, f, g, h, i");
  expect(targets(session)).toBe("*.t");
  expect(property(session.action(classifySql("SELECT * FROM hr.t")), "name")).toBe("SELECT app");
});
