import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FRIENDLY, HOSTILE } from "../testing/sql-statements.ts";
import { TestEngine, traceRow } from "../testing/test-engine.ts";

/** What statements of either role may do, and that none gets in another's way. */
let server: TestEngine;

beforeAll(async () => {
  server = await TestEngine.start({ readerSeconds: 60, insertBytes: 256 * 2 ** 20 });
});

afterAll(() => server.stop());

describe("a reader's statement", () => {
  it.each(HOSTILE)("is refused: %s", async (sql) => {
    const outside = join(server.dataDir, "outside");
    const answer = await server.ask(sql.replace("OUTSIDE", outside));
    expect([answer.status, answer.text]).not.toEqual([200, answer.text]);
    expect(answer.text).toMatch(/^Code: \d+\. DB::Exception: /);
    expect(answer.text).not.toContain("root:x:0");
    expect(existsSync(outside)).toBe(false);
  });

  it.each(FRIENDLY)("is answered: %s", async (sql) => {
    const answer = await server.ask(sql);
    expect([answer.status, answer.text]).toEqual([200, answer.text]);
  });

  it("cannot name by a parameter what it may not name", async () => {
    const sql = "SELECT * FROM {d:Identifier}.{t:Identifier}";
    expect((await server.ask(sql, "param_d=system&param_t=one")).status).toBe(200);
    for (const table of ["processes", "process\\x65s", "pro\\cesses", "users"]) {
      const answer = await server.ask(sql, `param_d=system&param_t=${encodeURIComponent(table)}`);
      expect(answer.status).not.toBe(200);
    }
    const call = "SELECT arrayMap({f:Identifier}, ['/etc/passwd'])";
    expect((await server.ask(call, "param_f=upper")).text).toBe("['/ETC/PASSWD']\n");
    expect((await server.ask(call, "param_f=file")).status).toBe(403);
    expect((await server.ask("SELECT 1", "param_x%27=1")).status).toBe(400);
    expect((await server.ask("SELECT {x:String}", `param_x=${encodeURIComponent("', readonly = '0")}`)).text).toBe(
      "\\', readonly = \\'0\n",
    );
  });

  it("left everything as it was", async () => {
    expect(await server.count("TraceId = 'kept'")).toBe(1);
    expect((await server.ask("SHOW TABLES")).text).toContain("otel_traces\n");
  });
});

describe("the writer", () => {
  it.each(HOSTILE.filter((sql) => !/system\b/i.test(sql) && !sql.startsWith("SELECT * FROM merge")))(
    "is refused as well: %s",
    async (sql) => {
      const outside = join(server.dataDir, "outside");
      const answer = await server.send("/", {
        method: "POST",
        body: sql.replace("OUTSIDE", outside),
        headers: server.writerHeaders(),
      });
      expect(answer.status).not.toBe(200);
      expect(existsSync(outside)).toBe(false);
    },
  );

  const rows = `${JSON.stringify(traceRow("body"))}\n`;
  const into = "INSERT INTO otel_audit.otel_traces FORMAT JSONEachRow";

  it("inserts a body in each encoding, from the parameter or behind the statement", async () => {
    const encodings: [name: string, body: Uint8Array][] = [
      ["gzip", gzipSync(rows)],
      ["deflate", deflateSync(rows)],
      ["br", brotliCompressSync(rows)],
      ["zstd", zstdCompressSync(rows)],
      ["identity", Buffer.from(rows)],
    ];
    for (const [encoding, body] of encodings) {
      const answer = await server.insert(into, body, { "Content-Encoding": encoding });
      expect([answer.status, answer.text]).toEqual([200, ""]);
      expect(JSON.parse(answer.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({ written_rows: "1" });
    }
    const behind = await server.send("/", {
      method: "POST",
      body: `${into}\n${rows}${rows}`,
      headers: server.writerHeaders(),
    });
    expect([behind.status, behind.text]).toEqual([200, ""]);
    const values = `INSERT INTO otel_traces (TraceId) VALUES ('body'), ('body')`;
    expect((await server.send("/", { method: "POST", body: values, headers: server.writerHeaders() })).status).toBe(
      200,
    );
    expect(await server.count("TraceId = 'body'")).toBe(9);
  });

  it("gets clear errors for broken bodies, and the next good one works", async () => {
    const status = async (body: string | Uint8Array, headers: Record<string, string>): Promise<number> =>
      (await server.insert(into, body, headers)).status;
    expect(await status("no gzip", { "Content-Encoding": "gzip" })).toBe(400);
    expect(await status(gzipSync(rows).subarray(0, 30), { "Content-Encoding": "gzip" })).toBe(400);
    expect(await status(rows, { "Content-Encoding": "lz4" })).toBe(415);
    expect(await status("{not json", {})).toBe(400);
    expect(await status(gzipSync(Buffer.alloc(300 * 2 ** 20)), { "Content-Encoding": "gzip" })).toBe(413);
    expect((await server.insert("INSERT INTO otel_traces FORMAT Nothing", rows)).status).toBe(404);
    expect((await server.insert("INSERT INTO system.one FORMAT TSV", "1")).status).toBe(403);
    expect((await server.insert("INSERT INTO nothing FORMAT TSV", "1")).status).toBe(404);
    expect((await server.insert(`${into} SETTINGS x = 1`, rows)).status).not.toBe(200);
    expect(await status(rows.replace("body", "after"), {})).toBe(200);
    expect(await server.count("TraceId = 'after'")).toBe(1);
  });

  it("cannot write by GET", async () => {
    const path = `/?query=${encodeURIComponent("INSERT INTO otel_traces (TraceId) VALUES ('got')")}`;
    expect((await server.send(path, { headers: server.writerHeaders() })).status).not.toBe(200);
    expect(await server.count("TraceId = 'got'")).toBe(0);
  });

  it("keeps one block one block: one part, and one token", async () => {
    const select =
      "SELECT toDateTime64('2026-01-01 00:00:00', 9) AS Timestamp, 'block' AS TraceId, repeat('x', 300) AS SpanName FROM numbers(200000)";
    const block = await server.send("/?default_format=Native&max_block_size=1000000", {
      method: "POST",
      body: select,
      headers: server.writerHeaders(),
    });
    expect(block.body.length).toBeGreaterThan(60_000_000);
    const settings = "async_insert=0&insert_deduplicate=1&insert_deduplication_token=t1";
    const query = encodeURIComponent("INSERT INTO otel_traces (Timestamp, TraceId, SpanName) FORMAT Native");
    for (let time = 0; time < 2; time++) {
      const answer = await server.send(`/?${settings}&query=${query}`, {
        method: "POST",
        body: Uint8Array.from(block.body),
        headers: server.writerHeaders(),
      });
      expect([answer.status, answer.text]).toEqual([200, ""]);
    }
    const parts = await server.ask("SELECT count(), uniqExact(_part) FROM otel_traces WHERE TraceId = 'block'");
    expect(["200000\t1\n", "400000\t2\n"]).toContain(parts.text);
  });

  it("sees its own inserts under way in system.processes, and readers do not", async () => {
    const running = `SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND startsWith(query_id, 'slow-')`;
    const look = async (): Promise<string> =>
      (await server.send("/", { method: "POST", body: running, headers: server.writerHeaders() })).text;
    expect(await look()).toBe("0\n");
    const { readable: body, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const upload = writable.getWriter();
    void upload.write(Buffer.from(rows));
    const path = `/?query_id=slow-1&query=${encodeURIComponent(into)}`;
    const slow = server.send(path, { method: "POST", body, duplex: "half", headers: server.writerHeaders() });
    while ((await look()) !== "1\n") await sleep(20);
    const twin = await server.send(path, { method: "POST", body: rows, headers: server.writerHeaders() });
    expect([twin.status, twin.headers.get("x-clickhouse-exception-code")]).toEqual([409, "216"]);
    await upload.close();
    expect((await slow).status).toBe(200);
    expect(await look()).toBe("0\n");
  });
});

describe("several at a time", () => {
  const LONG = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))";

  it("inserts while readers' long queries run, and stops those whose client left", async () => {
    const leaving = new AbortController();
    const long = [1, 2, 3, 4].map((n) =>
      server.send(`/?query_id=long-${n}`, { method: "POST", body: LONG, signal: leaving.signal }).catch(() => "left"),
    );
    const running = `SELECT count() FROM system.processes WHERE startsWith(query_id, 'long-')`;
    const look = async (): Promise<string> =>
      (await server.send("/", { method: "POST", body: running, headers: server.writerHeaders() })).text;
    while ((await look()) !== "4\n") await sleep(20);
    for (let n = 0; n < 5; n++) {
      await server.writer.insert({ table: "otel_traces", values: [traceRow("beside")], format: "JSONEachRow" });
    }
    expect(await look()).toBe("4\n");
    leaving.abort();
    expect(await Promise.all(long)).toEqual(["left", "left", "left", "left"]);
    while ((await look()) !== "0\n") await sleep(20);
    expect(await server.count("TraceId = 'beside'")).toBe(5);
  });

  it("keeps parameters and settings of parallel queries apart", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        server.ask("SELECT {n:UInt32} + 0", `param_n=${n}&output_format_json_quote_64bit_integers=${n % 2}`),
      ),
    );
    expect(answers.map(({ text }) => text)).toEqual(Array.from({ length: 40 }, (_, n) => `${n}\n`));
  });

  it("ends a query at the time limit", async () => {
    const answer = await server.ask(LONG, "max_execution_time=1");
    expect([answer.status, answer.headers.get("x-clickhouse-exception-code")]).toEqual([408, "159"]);
  });
});
