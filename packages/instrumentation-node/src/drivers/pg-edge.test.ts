import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

import type * as Pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import { type Postgres, startPostgres } from "../../../../test/support/index.ts";
import type { Approver, ReviewAnswer } from "../approver.ts";
import { currentAgent, withAgent } from "../identity.ts";
import { type Recorder, record } from "../testing/recorder.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { pgDriver } from "./pg.ts";

// Calls that are not what they look like, statements that wait for somebody, clients that go away.

const POLICY = `
policy: test
mode: enforce
default: allow
resources:
  cards: { db: "**/public.cards" }
  orders: { db: "**/public.orders" }
rules:
  - { id: no-cards, deny: { resource: cards } }
  - { id: ask, review: { resource: orders, action: DELETE } }
`;
const STOPPED = expect.objectContaining({ code: "EAUDITDENIED", rule: "no-cards" });

let server: Postgres;
let recorder: Recorder;
let pg: Awaited<ReturnType<typeof loadPg>>;
let client: Pg.Client;
let base: string;

async function loadPg() {
  return (await import("pg")).default;
}

beforeAll(async () => {
  server = await startPostgres({
    sql: "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1), (2); CREATE TABLE cards (n text); INSERT INTO cards VALUES ('4242');",
  });
  base = `postgresql://127.0.0.1:${server.port}/postgres`;
});
afterAll(() => server.close());

beforeEach(() => start());
afterEach(async () => {
  await client.end();
  recorder[Symbol.dispose]();
});

async function start(approver?: Approver): Promise<void> {
  recorder = await record([pgDriver], POLICY, approver);
  pg = await loadPg();
  client = new pg.Client(server.url);
  client.on("error", () => {});
  await client.connect();
}

async function restart(approver?: Approver): Promise<void> {
  await client.end();
  recorder[Symbol.dispose]();
  await start(approver);
}

const READ = (): string => `READ success ${base}/public.orders`;

/** Calls `client.query` with what its types do not allow. */
function query(...args: unknown[]): unknown {
  const method: unknown = Reflect.get(client, "query");
  if (!isFunction(method)) throw new TypeError("no query");
  return Reflect.apply(method, client, args);
}

/** An object whose text is another one each time somebody looks. */
function changing(...texts: string[]): object {
  let at = 0;
  return {
    get text() {
      return texts[Math.min(at++, texts.length - 1)];
    },
  };
}

/** The cards that the server has. */
async function cards(): Promise<number | null> {
  recorder[Symbol.dispose]();
  const { rowCount } = await client.query("SELECT * FROM cards");
  return rowCount;
}

test.each([1, 2, 3])("a text that is another one when it is read again (%i)", async (times) => {
  const texts = Array.from({ length: times }, () => "SELECT * FROM orders");
  const [result] = await Promise.allSettled([query(changing(...texts, "DELETE FROM cards"))]);
  // Read once more than this it is allowed, and is what was judged.
  const code = result?.status === "rejected" ? property(result.reason, "code") : "allowed";
  expect(["EAUDITDENIED", "allowed"]).toContain(code);
  expect(await cards()).toBe(1);
});

test("a query object whose text changes while it waits: the record is of what was sent", async () => {
  const other = new pg.Query("SELECT * FROM cards WHERE false OR 1 = 0");
  Reflect.set(other, "text", "SELECT id FROM orders");
  const first = client.query("SELECT pg_sleep(0.05)");
  const ended = once(other, "end");
  client.query(other);
  Reflect.set(other, "text", "INSERT INTO orders SELECT 3 WHERE false");
  await first;
  await ended;
  expect(recorder.take()).toEqual([
    `READ success ${base}`,
    `READ failure text_changed ${base}/public.orders`,
    `WRITE success ${base}/public.orders`,
  ]);
  const denied = new pg.Query("SELECT id FROM orders");
  const failed = once(denied, "error");
  const before = client.query("SELECT pg_sleep(0.05)");
  client.query(denied);
  Reflect.set(denied, "text", "DELETE FROM cards");
  await before;
  expect(await failed).toEqual([STOPPED]);
  expect(await cards()).toBe(1);
});

const nothing = (): void => {};

/** A submittable of somebody's own, that sends what it likes. */
function submittable(submit: (connection: Record<PropertyKey, unknown>) => void, text?: string) {
  let done: (error?: unknown) => void;
  const over = new Promise<unknown>((resolve) => (done = resolve));
  const object = {
    ...(text !== undefined && { text }),
    submit: (connection: unknown) => (isObject(connection) ? submit(connection) : undefined),
    handleError: (error: unknown) => done(error),
    handleReadyForQuery: () => done(),
    handleRowDescription: nothing,
    handleDataRow: nothing,
    handleCommandComplete: nothing,
    handleParseComplete: nothing,
  };
  return { object, over };
}

function call(target: Record<PropertyKey, unknown>, name: string, ...args: unknown[]): unknown {
  const method: AnyFunction | undefined = isFunction(target[name]) ? target[name] : undefined;
  return method === undefined ? undefined : Reflect.apply(method, target, args);
}

test.each([undefined, "SELECT 1", "SELECT * FROM orders"])(
  "a submittable that says %j and sends another",
  async (says) => {
    const allowed = submittable(
      (connection) => call(connection, "query", "INSERT INTO orders SELECT 3 WHERE false"),
      says,
    );
    query(allowed.object);
    expect(await allowed.over).toBeUndefined();
    expect(recorder.take().at(-1)).toBe(`WRITE success ${base}/public.orders`);
    for (const send of [
      (connection: Record<PropertyKey, unknown>) => call(connection, "query", "DELETE FROM cards"),
      (connection: Record<PropertyKey, unknown>) => {
        call(connection, "parse", { text: "DELETE FROM cards" });
        call(connection, "bind", {});
        call(connection, "execute", {});
        call(connection, "sync");
      },
    ]) {
      const denied = submittable(send, says);
      query(denied.object);
      expect(await denied.over).toEqual(STOPPED);
    }
    expect(await cards()).toBe(1);
  },
);

test("one that sends several texts: each has its record", async () => {
  const several = submittable((connection) => {
    call(connection, "parse", { text: "SELECT * FROM orders" });
    call(connection, "bind", {});
    call(connection, "execute", {});
    call(connection, "parse", { text: "INSERT INTO orders SELECT 3 WHERE false" });
    call(connection, "bind", {});
    call(connection, "execute", {});
    call(connection, "sync");
  });
  query(several.object);
  await several.over;
  expect(recorder.take()).toEqual([`WRITE success ${base}/public.orders`, READ()]);
});

test("a hand on the connection itself", async () => {
  const connection = property(client, "connection");
  if (!isObject(connection)) throw new TypeError("no connection");
  expect(() => call(connection, "query", "DELETE FROM cards")).toThrow(
    expect.objectContaining({ code: "EAUDITDENIED" }),
  );
  expect(() => call(connection, "parse", { text: "DELETE FROM cards" })).toThrow("no-cards");
  await client.query({ name: "own", text: "SELECT * FROM orders" });
  recorder.take();
  const ready = new Promise((resolve) => call(connection, "once", "readyForQuery", resolve));
  call(connection, "bind", { statement: "own" });
  expect(recorder.take()).toEqual([]);
  call(connection, "sync");
  await ready;
  expect(recorder.take()).toEqual([READ()]);
  expect(await cards()).toBe(1);
});

test("a query that somebody puts into the queue himself", async () => {
  const query = new pg.Query("DELETE FROM cards");
  const queue = property(client, "_queryQueue");
  if (!Array.isArray(queue)) throw new TypeError("no queue");
  const failed = once(query, "error");
  queue.push(query);
  await client.query("SELECT 1").catch(() => {});
  expect(await failed).toEqual([STOPPED]);
  expect(await cards()).toBe(1);
});

test.each([[null], [7], [[]], [{}], [{ text: 7 }], [{ text: null }], [true], [new Date(0)], [() => 1]])(
  "%j is answered as without audit",
  async (config) => {
    const outcome = async (): Promise<unknown> => {
      try {
        return await query(config);
      } catch (error) {
        return String(error);
      }
    };
    const audited = await outcome();
    expect(recorder.take()).toEqual([]);
    recorder[Symbol.dispose]();
    expect(audited).toEqual(await outcome());
  },
);

test("a reviewed statement waits, those after it too, and the identity of each is its own", async () => {
  let answer: ((decision: ReviewAnswer) => void) | undefined;
  await restart(() => new Promise((resolve) => (answer = resolve)));
  const order: string[] = [];
  const run = (id: string, sql: string): Promise<void> =>
    withAgent({ id }, () =>
      client.query(sql).then(
        () => void order.push(`${id} ${currentAgent()?.id}`),
        (error: unknown) => void order.push(`${id} ${String(property(error, "code"))}`),
      ),
    );
  const all = [
    run("a", "SELECT * FROM orders"),
    run("b", "DELETE FROM orders WHERE false"),
    run("c", "SELECT id FROM orders"),
  ];
  await all[0];
  await client.connect().catch(() => {});
  expect(order).toEqual(["a a"]);
  answer?.({ decision: "allow", by: "user:boss" });
  await Promise.all(all);
  expect(order).toEqual(["a a", "b b", "c c"]);

  const more = [run("d", "DELETE FROM orders WHERE false"), run("e", "SELECT * FROM orders")];
  await new Promise(setImmediate);
  answer?.({ decision: "deny", by: "user:boss" });
  await Promise.all(more);
  expect(order.slice(3)).toEqual(["d EAUDITDENIED", "e e"]);
  expect(recorder.takeWithActor().map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual([
    "a READ success",
    "b DELETE success",
    "c READ success",
    "d DELETE failure",
    "e READ success",
  ]);
});

test("a client that ends while a statement waits for its approver", async () => {
  let answer: ((decision: ReviewAnswer) => void) | undefined;
  await restart(() => new Promise((resolve) => (answer = resolve)));
  const held = client.query("DELETE FROM orders");
  const [outcome] = await Promise.allSettled([held, client.end()]);
  expect(outcome).toMatchObject({ status: "rejected", reason: { message: "Connection terminated" } });
  answer?.({ decision: "allow", by: "user:boss" });
  expect(recorder.take()).toEqual([`DELETE failure Error ${base}/public.orders`]);
});

test("a denied statement leaves its transaction as it is", async () => {
  await client.query("BEGIN");
  await client.query("INSERT INTO orders VALUES (77)");
  await expect(client.query("DELETE FROM cards")).rejects.toEqual(STOPPED);
  expect((await client.query("SELECT * FROM orders WHERE id = 77")).rowCount).toBe(1);
  await client.query("ROLLBACK");
});

test("a query that is taken back while it waits", async () => {
  const first = client.query("SELECT pg_sleep(0.05), * FROM orders");
  const second = new pg.Query("SELECT * FROM orders");
  client.query(second);
  const canceller = new pg.Client(server.url);
  call(Object(canceller), "cancel", client, second);
  expect(recorder.take()).toEqual([`READ failure cancelled ${base}/public.orders`]);
  await first;
});

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, type, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

function* broken(): Generator<string> {
  yield "1\n";
  throw new Error("source");
}

// PGlite's socket takes no COPY FROM STDIN: as much of a server as it takes.
async function copyServer(): Promise<Server> {
  const ready = message("Z", Buffer.from("I"));
  const failed = message("E", Buffer.from("SERROR\0C57014\0Mcancelled\0\0", "latin1"));
  const server = createServer((socket) => {
    let rest = Buffer.alloc(0);
    let started = false;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      rest = Buffer.concat([rest, data]);
      for (;;) {
        const at = started ? 1 : 0;
        const length = rest.length < at + 4 ? Number.POSITIVE_INFINITY : rest.readInt32BE(at) + at;
        if (rest.length < length) return;
        const type = started ? String.fromCharCode(rest[0] ?? 0) : "";
        rest = rest.subarray(length);
        if (!started) socket.write(Buffer.concat([message("R", Buffer.alloc(4)), ready]));
        started = true;
        if (type === "Q") socket.write(message("G", Buffer.from([0, 0, 0])));
        if (type === "c") socket.write(Buffer.concat([message("C", Buffer.from("COPY 2\0")), ready]));
        if (type === "f") socket.write(Buffer.concat([failed, ready]));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test("COPY FROM STDIN: to its end, broken off, denied", async () => {
  const { from } = (await import("pg-copy-streams")).default;
  const copying = await copyServer();
  const address = copying.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const other = new pg.Client({ host: "127.0.0.1", port, user: "u", database: "app" });
  await other.connect();
  const copy = (sql: string, rows: Iterable<string>): Promise<unknown> =>
    pipeline(Readable.from(rows), other.query(from(sql)));
  await copy("COPY orders FROM STDIN", ["1\n", "2\n"]);
  await expect(copy("COPY orders FROM STDIN", broken())).rejects.toThrow("source");
  await expect(copy("COPY cards FROM STDIN", ["1\n"])).rejects.toEqual(STOPPED);
  await copy("COPY orders FROM STDIN", ["1\n"]);
  const there = `postgresql://127.0.0.1:${port}/app`;
  expect(recorder.take()).toEqual([
    `WRITE success ${there}/public.orders`,
    `WRITE failure 57014 ${there}/public.orders`,
    `WRITE failure policy_denied ${there}/public.cards`,
    `WRITE success ${there}/public.orders`,
  ]);
  await other.end();
  copying.close();
});

test("callbacks and events of cursors and streams are of the agent that asked, whoever opened the connection", async () => {
  const { default: Cursor } = await import("pg-cursor");
  const { default: QueryStream } = await import("pg-query-stream");
  const { to } = (await import("pg-copy-streams")).default;
  const pool = new pg.Pool({ connectionString: server.url, max: 1 });
  await withAgent({ id: "agent:opener" }, () => pool.query("SELECT 1"));
  const seen: (string | undefined)[] = [];
  const note = (): void => void seen.push(currentAgent()?.id);
  const read = (stream: Readable): Promise<unknown> => once(stream.on("data", note), "end").finally(note);
  await withAgent({ id: "agent:asker" }, async () => {
    const own = await pool.connect();
    await read(own.query(new QueryStream("SELECT * FROM orders", [], { batchSize: 1 })));
    await read(own.query(to("COPY orders TO STDOUT")));
    const cursor = own.query(new Cursor("SELECT * FROM orders"));
    await new Promise<void>((done, failed) => {
      cursor.read(1, (error) => {
        note();
        if (error) failed(error);
        else cursor.read(100, () => (note(), done()));
      });
    });
    await cursor.close();
    own.release();
  });
  await pool.end();
  expect(seen.length).toBeGreaterThan(6);
  expect(new Set(seen)).toEqual(new Set(["agent:asker"]));
});
