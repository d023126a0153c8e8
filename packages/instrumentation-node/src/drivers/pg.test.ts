import { Socket } from "node:net";

import type * as Pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { type Postgres, startPostgres } from "../../../../test/support/index.ts";
import { currentAgent, withAgent } from "../identity.ts";
import { type Recorder, record } from "../testing/recorder.ts";
import { property } from "../unknown.ts";
import { pgDriver } from "./pg.ts";

const DENY = `
policy: test
mode: enforce
default: allow
resources:
  cards: { db: "**/public.cards" }
rules:
  - { id: no-cards, deny: { resource: cards } }
`;

let server: Postgres;
let recorder: Recorder;
let pg: Awaited<ReturnType<typeof loadPg>>;
let client: Pg.Client;
let base: string;
/** PGlite has one session for all clients: a name can be prepared once. */
let names = 0;

async function loadPg() {
  return (await import("pg")).default;
}

beforeAll(async () => {
  server = await startPostgres({
    sql: "CREATE TABLE orders (id int PRIMARY KEY, n text); INSERT INTO orders VALUES (1, 'a'), (2, 'b'); CREATE TABLE cards (n text); INSERT INTO cards VALUES ('4242');",
  });
  base = `postgresql://127.0.0.1:${server.port}/postgres`;
});
afterAll(() => server.close());

beforeEach(async () => {
  recorder = await record([pgDriver], DENY);
  pg = await loadPg();
  client = new pg.Client(server.url);
  await client.connect();
});
afterEach(async () => {
  await client.end();
  recorder[Symbol.dispose]();
});

const OK = (): string[] => [`READ success ${base}/public.orders`];
const SQL = "SELECT * FROM orders ORDER BY id";

type Rows = readonly { readonly id: number }[];

/** Every way to run a statement, to its rows. */
const FORMS: readonly (readonly [string, (sql: string) => Promise<Rows>])[] = [
  ["promise", async (sql) => (await client.query<{ id: number }>(sql)).rows],
  ["promise with values", async (sql) => (await client.query<{ id: number }>(sql, [])).rows],
  ["config", async (sql) => (await client.query<{ id: number }>({ text: sql })).rows],
  ["prepared", async (sql) => (await client.query<{ id: number }>({ name: `statement-${names++}`, text: sql })).rows],
  [
    "callback",
    (sql) =>
      new Promise((done, fail) =>
        client.query<{ id: number }>(sql, (error: Error | null, result) => (error ? fail(error) : done(result.rows))),
      ),
  ],
  [
    "values and callback",
    (sql) =>
      new Promise((done, fail) =>
        client.query<{ id: number }>(sql, [], (error: Error | null, result) =>
          error ? fail(error) : done(result.rows),
        ),
      ),
  ],
  ["Query object", runQueryObject],
  ["Query object with callback", runQueryObjectWithCallback],
  ["pool", withPool((pool, sql) => pool.query<{ id: number }>(sql).then(({ rows }) => rows))],
  [
    "pool callback",
    withPool(
      (pool, sql) =>
        new Promise((done, fail) =>
          pool.query<{ id: number }>(sql, (error: Error | null, result) => (error ? fail(error) : done(result.rows))),
        ),
    ),
  ],
  [
    "pool.connect",
    withPool(async (pool, sql) => {
      const connection = await pool.connect();
      try {
        return (await connection.query<{ id: number }>(sql)).rows;
      } finally {
        connection.release();
      }
    }),
  ],
];

function runQueryObject(sql: string): Promise<Rows> {
  return new Promise((done, fail) => {
    const rows: { id: number }[] = [];
    const query = new pg.Query(sql);
    query.on("row", (row) => rows.push({ id: Number(property(row, "id")) }));
    query.on("end", () => done(rows));
    query.on("error", fail);
    expect(client.query(query)).toBe(query);
  });
}

function runQueryObjectWithCallback(sql: string): Promise<Rows> {
  return new Promise((done, fail) => {
    const callback = (error: Error | null, result: { rows: Rows }): void => (error ? fail(error) : done(result.rows));
    // Its type has no callback, the documentation has.
    client.query(Reflect.construct(pg.Query, [sql, callback]));
  });
}

function withPool(run: (pool: Pg.Pool, sql: string) => Promise<Rows>): (sql: string) => Promise<Rows> {
  return async (sql) => {
    const pool = new pg.Pool({ connectionString: server.url, max: 1 });
    try {
      return await run(pool, sql);
    } finally {
      await pool.end();
    }
  };
}

describe.each(FORMS)("%s", (_, run) => {
  test("one record", async () => {
    expect((await run(SQL)).map(({ id }) => id)).toEqual([1, 2]);
    expect(recorder.take()).toEqual(OK());
  });

  test("an error has its SQLSTATE", async () => {
    await expect(run("SELECT * FROM nowhere")).rejects.toMatchObject({ code: "42P01" });
    expect(recorder.take()).toEqual([`READ failure 42P01 ${base}/public.nowhere`]);
  });

  test("denied: the caller hears of it, nothing is done, the client is usable", async () => {
    await expect(run("DELETE FROM cards")).rejects.toMatchObject({ code: "EAUDITDENIED", rule: "no-cards" });
    expect(recorder.take()).toEqual([`DELETE failure policy_denied ${base}/public.cards`]);
    await run(SQL);
    expect(recorder.take()).toEqual(OK());
  });
});

test("a denied statement changes nothing", async () => {
  await client.query("DELETE FROM cards").catch(() => {});
  recorder[Symbol.dispose]();
  expect((await client.query("SELECT * FROM cards")).rowCount).toBe(1);
});

test("attributes, without text and parameters", async () => {
  // What a policy makes of a statement that is not understood is not this test's business.
  recorder[Symbol.dispose]();
  recorder = await record([pgDriver]);
  await client.query("SELECT id, 'secret' AS s FROM orders WHERE n <> $1", ["secret"]);
  await client.query("INSERT INTO orders VALUES (1)").catch(() => {});
  await client.query("SELEC secret").catch(() => {});
  const [read, write, invalid] = recorder.takeAttributes();
  expect(read).toMatchObject({
    "audit.event.name": "db.statement",
    "audit.target.type": "database.table",
    "db.system.name": "postgresql",
    "db.namespace": "postgres",
    "db.operation.name": "SELECT",
    "db.collection.name": "orders",
    "db.query.summary": "SELECT orders",
    "db.response.returned_rows": 2,
    "server.address": "127.0.0.1",
    "server.port": server.port,
  });
  expect(write).toMatchObject({ "audit.action": "WRITE", "error.type": "23505", "db.response.status_code": "23505" });
  expect(invalid).toMatchObject({
    "audit.action": "EXECUTE",
    "audit.target.type": "database",
    "audit.db.unclassified": "invalid",
    "error.type": "42601",
  });
  expect(JSON.stringify([read, write, invalid])).not.toMatch(/secret|postgres:postgres/);
});

test("several tables stand in the arrays, the written one is the target", async () => {
  await client.query("CREATE TABLE IF NOT EXISTS copies (id int)");
  recorder.take();
  await client.query("INSERT INTO copies SELECT id FROM orders");
  expect(recorder.takeAttributes()).toMatchObject([
    {
      "audit.action": "WRITE",
      "audit.target.id": `${base}/public.copies`,
      "audit.target.write_ids": [`${base}/public.copies`],
      "audit.target.read_ids": [`${base}/public.orders`],
    },
  ]);
});

test("transactions: what is in them is recorded, BEGIN and COMMIT are counted", async () => {
  await client.query("BEGIN");
  await client.query("UPDATE orders SET n = 'z' WHERE id = 1");
  await client.query("SELECT 1");
  await client.query("ROLLBACK");
  expect(recorder.take()).toEqual([`UPDATE success ${base}/public.orders`]);
  expect(recorder.counts()).toEqual({ sql: 3 });
});

test("a named statement that is run again by its name", async () => {
  await client.query({ name: "by-id", text: "SELECT * FROM orders WHERE id = $1", values: [1] });
  // Its type wants a text, pg does not.
  const again: Pg.QueryConfig = { name: "by-id", text: "", values: [2] };
  Reflect.deleteProperty(again, "text");
  await client.query(again);
  expect(recorder.take()).toEqual([...OK(), ...OK()]);
});

test("several statements in one text are one record of the most dangerous", async () => {
  await client.query("SELECT * FROM orders; DELETE FROM orders WHERE id = 99");
  expect(recorder.take()).toEqual([`DELETE success ${base}/public.orders`]);
});

test("a lost connection ends what was running", async () => {
  const other = new pg.Client(server.url);
  other.on("error", () => {});
  await other.connect();
  const running = other.query("SELECT * FROM orders, pg_sleep(0.5)");
  const stream = property(property(other, "connection"), "stream");
  if (stream instanceof Socket) stream.destroy();
  await expect(running).rejects.toThrow("Connection terminated");
  expect(recorder.take()).toEqual([`READ failure Error ${base}/public.orders`]);
});

test("a rejection that nobody handles is still unhandled", async () => {
  const before = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  try {
    const unhandled = new Promise((resolve) => process.once("unhandledRejection", resolve));
    void client.query("SELECT * FROM nowhere");
    expect(await unhandled).toMatchObject({ code: "42P01" });
  } finally {
    for (const listener of before) process.on("unhandledRejection", listener);
  }
});

test("two agents over a pool of one connection: nothing on the wrong one, callbacks neither", async () => {
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  const wrong: string[] = [];
  const check = (id: string): void => {
    if (currentAgent()?.id !== id) wrong.push(id);
  };
  const run = (index: number): Promise<unknown> => {
    const id = `agent:${index % 2}`;
    const sql = `SELECT * FROM orders AS o WHERE id = ${index}`;
    return withAgent({ id }, async () => {
      if (index % 3 === 0) return pool.query(sql).then(() => check(id));
      if (index % 3 === 1) {
        return new Promise<void>((done) => {
          pool.query(sql, () => {
            check(id);
            done();
          });
        });
      }
      const connection = await pool.connect();
      await new Promise<void>((done) => {
        const query = new pg.Query(sql);
        query.on("row", () => check(id));
        query.on("end", () => {
          check(id);
          done();
        });
        connection.query(query);
      });
      connection.release();
      return undefined;
    });
  };
  await Promise.all(Array.from({ length: 24 }, (_, index) => run(index)));
  await pool.end();
  expect(wrong).toEqual([]);
  const actors = recorder.takeWithActor().map((line) => line.split(" ")[0]);
  expect(actors).toHaveLength(24);
  expect(actors.filter((actor) => actor === "agent:0")).toHaveLength(12);
});

test("the functions look as before; a Query has its callback as its own property", () => {
  const patched = property(pg.Client.prototype, "query");
  expect([property(patched, "name"), property(patched, "length")]).toEqual(["query", 3]);
  expect(Object.keys(new pg.Query("SELECT 1"))).toContain("callback");
  recorder[Symbol.dispose]();
  expect(property(pg.Client.prototype, "query")).not.toBe(patched);
  expect("callback" in pg.Query.prototype).toBe(false);
});
