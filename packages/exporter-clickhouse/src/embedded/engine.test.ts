import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import { createClient } from "@clickhouse/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { QUIET, TestEngine, traceRow } from "../testing/test-engine.ts";
import { frameNative } from "./native-frames.ts";

/** One engine, asked the way clients ask. */
let server: TestEngine;

beforeAll(async () => {
  server = await TestEngine.start({ readerSeconds: 10, readerResultRows: 100_000, headersTimeoutMs: 2_000 });
});

afterAll(() => server.stop());

describe("@clickhouse/client", () => {
  it("pings, queries in its formats, binds parameters", async () => {
    await expect(server.reader.ping()).resolves.toEqual({ success: true });
    await expect(server.reader.ping({ select: true })).resolves.toEqual({ success: true });
    const query_params = { s: "it's \\ \n\t 'ü", n: 5, a: ["x'", "y"], t: "otel_traces", z: null };
    const query =
      "SELECT {s:String} AS s, {n:UInt8} + 1 AS n, {a:Array(String)} AS a, {z:Nullable(String)} AS z, TraceId FROM {t:Identifier}";
    const expected = [{ s: query_params.s, n: 6, a: ["x'", "y"], z: null, TraceId: "kept" }];
    const rows = await server.reader.query({ query, query_params, format: "JSONEachRow" });
    expect(await rows.json()).toEqual(expected);
    const whole = await server.reader.query({ query, query_params, format: "JSON" });
    expect(await whole.json()).toMatchObject({ data: expected, rows: 1 });
    const csv = await server.reader.query({ query: "SELECT 1 AS a, 'b' AS c", format: "CSVWithNames" });
    expect(await csv.text()).toBe('"a","c"\n1,"b"\n');
  });

  it("compresses both ways and streams", async () => {
    const client = createClient({ ...server.engine.writer, compression: { request: true, response: true }, ...QUIET });
    await client.insert({
      table: "otel_traces",
      values: [traceRow("zipped"), traceRow("zipped")],
      format: "JSONEachRow",
    });
    const rows = await client.query({ query: "SELECT number FROM numbers(50000)", format: "JSONEachRow" });
    let received = 0;
    for await (const batch of rows.stream()) received += batch.length;
    expect(received).toBe(50_000);
    expect(await server.count("TraceId = 'zipped'")).toBe(2);
    await client.close();
  });

  it("gets ClickHouse's errors", async () => {
    const query = (sql: string): Promise<unknown> => server.reader.query({ query: sql });
    await expect(query("SELEC 1")).rejects.toMatchObject({ code: "62" });
    await expect(query("SELECT * FROM nothing")).rejects.toMatchObject({ code: "60", type: "UNKNOWN_TABLE" });
    await expect(query("SELECT throwIf(1)")).rejects.toMatchObject({ code: "395" });
    await expect(
      server.reader.insert({ table: "otel_traces", values: [traceRow("x")], format: "JSONEachRow" }),
    ).rejects.toThrow(/Not enough privileges/);
    await expect(server.reader.command({ query: "DROP TABLE otel_traces" })).rejects.toMatchObject({ code: "497" });
    const wrong = createClient({ ...server.engine.writer, password: "guess", ...QUIET });
    await expect(wrong.query({ query: "SELECT 1" })).rejects.toMatchObject({ code: "516" });
    await wrong.close();
  });

  it("gets its settings, and no more of anything than a reader may have", async () => {
    const settings = {
      output_format_json_quote_64bit_integers: 1,
      max_execution_time: 1_000_000,
      readonly: "0",
    } as const;
    const query = "SELECT toUInt64(1) AS n, getSetting('max_execution_time') AS t, getSetting('readonly') AS r";
    const rows = await server.reader.query({ query, format: "JSONEachRow", clickhouse_settings: settings });
    expect(await rows.json()).toEqual([{ n: "1", t: 10, r: 1 }]);
    const lift = server.reader.query({ query, clickhouse_settings: { max_rows_in_set: "1" } });
    await expect(lift).rejects.toMatchObject({ code: "164" });
    await expect(server.reader.query({ query: "SELECT number FROM numbers(100001)" })).rejects.toMatchObject({
      code: "396",
    });
  });
});

/** One of each kind of column that Native serializes in a way of its own. */
const NATIVE_COLUMNS = [
  "1::UInt8",
  "'x'",
  "toLowCardinality('l')",
  "[toLowCardinality('m')]",
  "map('a', [1, 2])",
  "tuple(1, 'b')",
  "CAST((1, 'c'), 'Tuple(a UInt8, `b c` LowCardinality(Nullable(String)))')",
  "toDecimal64(1, 3)",
  "toDateTime64('2026-01-01 00:00:00', 9)",
  "NULL",
  "[]",
  "map()",
  "toFixedString('abc', 3)",
  "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')",
  "CAST('a', 'Enum8(\\'a\\' = 1, \\'),b\\' = 2)')",
  "[[tuple('n', [toNullable(1)])]]",
  "toIPv6('::1')",
  "INTERVAL 1 DAY",
  "toDate('2026-01-01')",
  "CAST(map('k', 'v'), 'Map(LowCardinality(String), String)')",
];

describe("plain HTTP, as curl and Grafana's plug-in speak it", () => {
  it("answers GET and POST with the headers of ClickHouse", async () => {
    const get = await server.send("/?query=SELECT%201%20AS%20a%20FORMAT%20JSONCompact&query_id=mine");
    expect(JSON.parse(get.text)).toMatchObject({ data: [[1]] });
    expect(get.headers.get("x-clickhouse-format")).toBe("JSONCompact");
    expect(get.headers.get("x-clickhouse-query-id")).toBe("mine");
    expect(get.headers.get("content-type")).toBe("application/json; charset=UTF-8");
    expect(JSON.parse(get.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({ read_rows: "1" });
    expect(get.headers.get("access-control-allow-origin")).toBeNull();
    expect((await server.ask("SELECT 2")).text).toBe("2\n");
    expect((await server.ask("+ 2", "query=SELECT%202")).text).toBe("4\n");
    expect((await server.ask("SELECT {x:UInt8}", "param_x=7&default_format=CSV")).text).toBe("7\n");
    expect((await server.send("/ping")).text).toBe("Ok.\n");
    expect((await server.send("/")).text).toBe("Ok.\n");
    expect((await server.send("/play")).status).toBe(404);
    expect((await server.send("/", { method: "PUT", body: "SELECT 1" })).status).toBe(400);
  });

  it("answers errors with the code in the header, the text as body, a fitting status", async () => {
    const syntax = await server.ask("SELEC");
    expect(syntax.status).toBe(400);
    expect(syntax.headers.get("x-clickhouse-exception-code")).toBe("62");
    expect(syntax.text).toMatch(
      /^Code: 62\. DB::Exception: Syntax error: .*\(SYNTAX_ERROR\) \(version 26\.[\d.]+\)\n$/s,
    );
    expect((await server.ask("SELECT * FROM nothing")).status).toBe(404);
    expect((await server.ask("")).status).toBe(400);
    expect((await server.ask("SELECT 1", "database=system")).status).toBe(404);
    expect((await server.ask("SELECT 1", "default_format=x%0d%0ay")).status).toBe(404);
    expect((await server.ask("SELECT 1", "query_id=a%0d%0ab")).status).toBe(400);
    expect((await server.ask("SELECT 1", "compress=1")).status).toBe(501);
    expect((await server.ask(`SELECT '${"x".repeat(300_000)}'`)).status).toBe(413);
    expect((await server.send("/", { method: "POST", body: Uint8Array.from([0x53, 0xff]) })).status).toBe(400);
    expect((await server.ask("SELECT '\0'")).status).toBe(400);
  });

  it.each(["gzip", "zstd"])("compresses answers with %s only where asked to", async (encoding) => {
    const search = "/?query=SELECT%20repeat('a',1000)&enable_http_compression=";
    const raw = (path: string): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        httpRequest(
          `${server.engine.url}${path}`,
          { headers: { "accept-encoding": `${encoding}, deflate;q=0` } },
          (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("end", () => resolve(Buffer.concat(chunks)));
          },
        )
          .on("error", reject)
          .end();
      });
    const inflate = encoding === "gzip" ? gunzipSync : zstdDecompressSync;
    expect(inflate(await raw(`${search}1`)).toString()).toBe(`${"a".repeat(1000)}\n`);
    expect((await raw(`${search}0`)).toString()).toBe(`${"a".repeat(1000)}\n`);
  });

  it("gives clickhouse-go the Native of its protocol revision", async () => {
    const types = NATIVE_COLUMNS;
    const sql = `SELECT ${types.join(", ")} FROM numbers(3)`;
    const plain = (await server.ask(sql, "default_format=Native")).body;
    const framed = (await server.ask(sql, "default_format=Native&client_protocol_version=54460")).body;
    // 8 bytes for the block and 1 a column are added; that no column's end is missed shows in every name being found.
    expect(framed.length).toBe(plain.length + 8 + types.length);
    expect(framed).toEqual(Buffer.from(frameNative(plain, 54_460)));
    const hello = await server.ask(
      "SELECT displayName(), version(), revision(), timezone()",
      "default_format=Native&client_protocol_version=54460&database=otel_audit",
    );
    expect(hello.body.subarray(0, 10)).toEqual(Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 4, 1]));
  });
});

const withHost = (headers: Record<string, string>): Promise<number> =>
  new Promise((resolve, reject) => {
    httpRequest(`${server.engine.url}/?query=SELECT+1`, { headers }, (response) =>
      resolve(response.resume().statusCode ?? 0),
    )
      .on("error", reject)
      .end();
  });

describe("who may ask", () => {
  it("refuses hosts and origins from elsewhere", async () => {
    expect(await withHost({ host: "localhost" })).toBe(200);
    expect(await withHost({ host: "rebind.example:8123" })).toBe(403);
    expect(await withHost({ host: "localhost", origin: "http://evil.example" })).toBe(403);
    const response = await fetch(`${server.engine.url}/ping`, { headers: { origin: "http://evil.example" } });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  });

  it("closes a connection whose headers do not come", async () => {
    const socket = connect(Number(new URL(server.engine.url).port), "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    const closed = new Promise((resolve) => socket.resume().once("close", () => resolve("closed")));
    expect(await closed).toBe("closed");
  });
});
