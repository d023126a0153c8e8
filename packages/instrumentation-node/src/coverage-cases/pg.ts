import type { CoverageLibrary } from "./library.ts";

const READ = "db.statement READ success $DB/postgres/public.orders";
const FAILED = "db.statement READ failure 42P01 $DB/postgres/public.nowhere";
const COPIED = "db.statement WRITE success $DB/postgres/public.copies";
const BOTH = `${COPIED} reads $DB/postgres/public.orders writes $DB/postgres/public.copies`;

export const pgLibrary: CoverageLibrary = {
  name: "pg",
  imports: {
    pg: "pg",
    copy: "pg-copy-streams",
    Cursor: { callable: "pg-cursor" },
    QueryStream: { callable: "pg-query-stream" },
  },
  database: `
    CREATE TABLE orders (id int PRIMARY KEY, n text);
    INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 300) AS i;
    CREATE TABLE copies (id int, n text);`,
  setup: `
    // All clients share one session of the server, where a name can be prepared once in a process's life.
    const NAME = process.pid + "-";
    const client = new pg.Client(DB);
    await client.connect();
    const pool = new pg.Pool({ connectionString: DB, max: 1 });
    const rows = (result) => result.rows.length;
    const lines = async (stream) => { let n = 0; for await (const row of stream) n += row.length ?? 1; return n; };
    const query = (text, values) => new Promise((over, failed) => {
      let n = 0;
      const object = new pg.Query(text, values).on("row", () => n++).on("end", () => over(n)).on("error", failed);
      client.query(object);
    });
    const onClient = async (use) => {
      const other = new pg.Client(DB);
      other.on("error", () => {});
      await other.connect();
      try { return await use(other); } finally { await other.end(); }
    };
    // Without what the driver says about an error in its own words.
    const until = (promise) => promise.then(() => "done", (error) => { if (error.code === "EAUDITDENIED") throw error; return "error"; });`,
  teardown: `await pool.end(); await client.end();`,
  cases: [
    {
      api: "client.query",
      form: "promise",
      code: `client.query("SELECT * FROM orders").then(rows)`,
      records: [READ],
    },
    {
      api: "client.query",
      form: "promise",
      note: "with values",
      code: `client.query("SELECT * FROM orders WHERE id < $1", [4]).then(rows)`,
      records: [READ],
    },
    {
      api: "client.query",
      form: "promise",
      note: "an error",
      code: `client.query("SELECT * FROM nowhere")`,
      records: [FAILED],
    },
    {
      api: "client.query",
      form: "callback",
      code: `client.query("SELECT * FROM orders", (error, result) => done(error, result && rows(result)))`,
      records: [READ],
    },
    {
      api: "client.query",
      form: "callback",
      note: "with values",
      code: `client.query("SELECT * FROM orders WHERE id < $1", [4], (error, result) => done(error, result && rows(result)))`,
      records: [READ],
    },
    {
      api: "client.query(config)",
      form: "promise",
      code: `client.query({ text: "SELECT * FROM orders", rowMode: "array" }).then(rows)`,
      records: [READ],
    },
    {
      api: "client.query(config)",
      form: "promise",
      note: "named, and again by its name",
      code: `client.query({ name: NAME + "again", text: "SELECT * FROM orders WHERE id = $1", values: [1] })
        .then(() => client.query({ name: NAME + "again", values: [2] })).then(rows)`,
      records: [READ, READ],
    },
    {
      api: "client.query(new pg.Query())",
      form: "promise",
      code: `query("SELECT * FROM orders")`,
      records: [READ],
    },
    {
      api: "client.query(new pg.Query())",
      form: "event",
      note: "an error",
      code: `client.query(new pg.Query("SELECT * FROM nowhere"))`,
      records: [FAILED],
    },
    {
      api: "pool.query",
      form: "promise",
      code: `pool.query("SELECT * FROM orders").then(rows)`,
      records: [READ],
    },
    {
      api: "pool.query",
      form: "callback",
      code: `pool.query("SELECT * FROM orders", (error, result) => done(error, result && rows(result)))`,
      records: [READ],
    },
    {
      api: "pool.query",
      form: "promise",
      note: "more at once than connections",
      code: `Promise.all([1, 2, 3].map((id) => pool.query("SELECT * FROM orders WHERE id = $1", [id]).then(rows)))`,
      records: [READ, READ, READ],
      notDenied: true,
    },
    {
      api: "pool.connect",
      form: "promise",
      code: `pool.connect().then((own) => own.query("SELECT * FROM orders").then(rows).finally(() => own.release()))`,
      records: [READ],
    },
    {
      api: "pool.connect",
      form: "callback",
      code: `pool.connect((failed, own, release) => own.query("SELECT * FROM orders", (error) => { release(); done(error); }))`,
      records: [READ],
    },
    {
      api: "pg-cursor",
      form: "promise",
      code: `(async () => { const cursor = client.query(new Cursor("SELECT * FROM orders ORDER BY id"));
        return [(await cursor.read(10)).length, (await cursor.read(1000)).length]; })()`,
      records: [READ],
    },
    {
      api: "pg-cursor",
      form: "promise",
      note: "closed early",
      code: `(async () => { const cursor = client.query(new Cursor("SELECT * FROM orders"));
        try { return (await cursor.read(1)).length; } finally { await cursor.close(); } })()`,
      records: [READ],
    },
    {
      api: "pg-cursor",
      form: "callback",
      note: "an error",
      code: `client.query(new Cursor("SELECT * FROM nowhere")).read(1, done)`,
      records: [FAILED],
    },
    {
      api: "pg-query-stream",
      form: "promise",
      code: `lines(client.query(new QueryStream("SELECT * FROM orders", [], { batchSize: 20 })))`,
      records: [READ],
    },
    {
      api: "pg-query-stream",
      form: "event",
      note: "an error",
      code: `client.query(new QueryStream("SELECT * FROM nowhere"))`,
      records: [FAILED],
    },
    {
      api: "pg-query-stream",
      form: "promise",
      note: "destroyed",
      code: `(async () => { const stream = client.query(new QueryStream("SELECT * FROM orders", [], { batchSize: 2 }));
        for await (const row of stream) return row.id; })()`,
      records: [READ],
    },
    {
      api: "pg-copy-streams to",
      form: "promise",
      code: `lines(client.query(copy.to("COPY orders TO STDOUT")))`,
      records: [READ],
    },
    {
      api: "pg-copy-streams to",
      form: "event",
      note: "an error",
      code: `client.query(copy.to("COPY nowhere TO STDOUT"))`,
      records: [FAILED],
    },
    {
      api: "client.query",
      form: "promise",
      note: "in a transaction",
      code: `(async () => { await client.query("BEGIN"); try { return await client.query("DELETE FROM copies").then(() => 1); }
        finally { await client.query("ROLLBACK"); } })()`,
      records: ["db.statement DELETE success $DB/postgres/public.copies"],
    },
    {
      api: "client.query",
      form: "promise",
      note: "several tables",
      code: `client.query("INSERT INTO copies SELECT * FROM orders WHERE id < 3").then(rows)`,
      records: [BOTH],
    },
    {
      api: "client.query",
      form: "promise",
      note: "several statements in a text, as the most dangerous",
      code: `client.query("SELECT * FROM orders; INSERT INTO copies VALUES (1); SELECT 1").then((results) => results.length)`,
      records: [BOTH],
    },
    {
      api: "client.query",
      form: "promise",
      note: "NOTIFY; LISTEN is not recorded",
      code: `client.query("LISTEN news").then(() => client.query("NOTIFY news")).then(rows)`,
      records: ["db.statement WRITE success $DB/postgres"],
    },
    {
      api: "client.query",
      form: "promise",
      note: "timeout while it waits",
      code: `onClient((other) => Promise.all([
        until(other.query("SELECT pg_sleep(0.3), 1 FROM orders LIMIT 1")),
        until(other.query({ text: "SELECT * FROM copies", query_timeout: 20 })),
      ]))`,
      records: [
        "db.statement READ failure Error $DB/postgres/public.copies",
        "db.statement READ success $DB/postgres/public.orders",
      ],
      notDenied: true,
    },
    {
      api: "client.end",
      form: "promise",
      note: "with statements queued",
      code: `onClient(async (other) => { const all = [1, 2].map(() => until(other.query("SELECT pg_sleep(0.3) FROM orders LIMIT 1")));
        await other.end(); return Promise.all(all); })`,
      records: [
        "db.statement READ failure Error $DB/postgres/public.orders",
        "db.statement READ failure Error $DB/postgres/public.orders",
      ],
      notDenied: true,
    },
  ],
  notSeen: [
    { api: "`pg.native`", why: "native code; `pg-native` is named as not covered once it is loaded" },
    { api: "`client.connection.stream.write()`", why: "bytes of somebody who speaks the protocol himself" },
    {
      api: "what functions, triggers, rules and views do in the server",
      why: "the record says what the statement names",
    },
  ],
};
