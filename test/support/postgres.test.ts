import { Client, Pool } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startPostgres, type Postgres } from "./postgres.ts";

let postgres: Postgres;

beforeAll(async () => {
  postgres = await startPostgres({ sql: "CREATE TABLE orders (id int PRIMARY KEY, state text)" });
});

afterAll(() => postgres.close());

it("serves several connections of a pool at once, with parameters and rows", async () => {
  const pool = new Pool({ connectionString: postgres.url, max: 10 });
  const ids = Array.from({ length: 10 }, (_, i) => i);
  const clients = await Promise.all(ids.map(() => pool.connect()));
  await Promise.all(clients.map((client, id) => client.query("INSERT INTO orders VALUES ($1, $2)", [id, "paid"])));
  for (const client of clients) client.release();
  const { rows } = await pool.query<{ n: number }>("SELECT count(*)::int AS n FROM orders");
  expect(rows).toEqual([{ n: 10 }]);
  await pool.end();
});

it("answers errors with PostgreSQL's codes, also with the config in parts", async () => {
  const { host, port, user, password, database } = postgres;
  const client = new Client({ host, port, user, password, database });
  await client.connect();
  await client.query("INSERT INTO orders VALUES (100, 'paid')");
  await expect(client.query("INSERT INTO orders VALUES (100, 'paid')")).rejects.toMatchObject({ code: "23505" });
  await expect(client.query("SELECT * FROM nothing")).rejects.toMatchObject({ code: "42P01" });
  await client.end();
});

it("fails with the server's own words when the SQL is wrong", async () => {
  await expect(startPostgres({ sql: "CREATE TABEL x ()" })).rejects.toThrow(/syntax error at or near "TABEL"/);
});

it("is gone after close", async () => {
  await postgres.close();
  await expect(new Client({ connectionString: postgres.url }).connect()).rejects.toMatchObject({
    code: "ECONNREFUSED",
  });
});
