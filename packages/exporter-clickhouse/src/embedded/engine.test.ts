import { existsSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { brotliCompressSync, deflateSync, gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { createClient } from "@clickhouse/client";
import type { ClickHouseClient } from "@clickhouse/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { EmbeddedEngine } from "./engine.ts";
import { frameNative } from "./native-frames.ts";

/** Everything here talks to one engine over HTTP, as clients do. */
let engine: EmbeddedEngine;
let dataDir: string;
let reader: ClickHouseClient;
let writer: ClickHouseClient;

const quiet = { log: { level: 127 } } as const;

beforeAll(async () => {
  dataDir = tempDir("engine");
  const limits = { readerSeconds: 10, readerResultRows: 100_000, headersTimeoutMs: 400, insertBytes: 256 * 2 ** 20 };
  engine = await EmbeddedEngine.start({ dataDir, limits });
  reader = createClient({ url: engine.url, database: "otel_audit", ...quiet });
  writer = createClient({ ...engine.writer, ...quiet });
  await writer.insert({ table: "otel_traces", values: [span("kept")], format: "JSONEachRow" });
});

afterAll(async () => {
  await reader.close();
  await writer.close();
  await engine.stop();
});

function span(id: string): Record<string, unknown> {
  return { Timestamp: "2026-01-02 03:04:05.123456789", TraceId: id, SpanName: "a", SpanAttributes: { k: "v" } };
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  readonly text: string;
}

async function send(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${engine.url}${path}`, init);
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body, text: body.toString("utf8") };
}

const ask = (sql: string, search = ""): Promise<Answer> => send(`/?${search}`, { method: "POST", body: sql });

const asWriter = (): Record<string, string> => ({
  "X-ClickHouse-User": engine.writer.username,
  "X-ClickHouse-Key": engine.writer.password,
});

const insert = (sql: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Answer> =>
  send(`/?query=${encodeURIComponent(sql)}`, {
    method: "POST",
    body: typeof body === "string" ? body : Uint8Array.from(body),
    headers: { ...asWriter(), ...headers },
  });

const count = async (where: string): Promise<number> =>
  Number((await ask(`SELECT count() FROM otel_traces WHERE ${where}`)).text);

describe("@clickhouse/client", () => {
  it("pings, queries in its formats, binds parameters", async () => {
    await expect(reader.ping()).resolves.toEqual({ success: true });
    await expect(reader.ping({ select: true })).resolves.toEqual({ success: true });
    const query_params = { s: "it's \\ \n\t 'ü", n: 5, a: ["x'", "y"], t: "otel_traces", z: null };
    const query =
      "SELECT {s:String} AS s, {n:UInt8} + 1 AS n, {a:Array(String)} AS a, {z:Nullable(String)} AS z, TraceId FROM {t:Identifier}";
    const expected = [{ s: query_params.s, n: 6, a: ["x'", "y"], z: null, TraceId: "kept" }];
    const rows = await reader.query({ query, query_params, format: "JSONEachRow" });
    expect(await rows.json()).toEqual(expected);
    const whole = await reader.query({ query, query_params, format: "JSON" });
    expect(await whole.json()).toMatchObject({ data: expected, rows: 1 });
    const csv = await reader.query({ query: "SELECT 1 AS a, 'b' AS c", format: "CSVWithNames" });
    expect(await csv.text()).toBe('"a","c"\n1,"b"\n');
  });

  it("compresses both ways and streams", async () => {
    const client = createClient({ ...engine.writer, compression: { request: true, response: true }, ...quiet });
    await client.insert({ table: "otel_traces", values: [span("zipped"), span("zipped")], format: "JSONEachRow" });
    const rows = await client.query({ query: "SELECT number FROM numbers(50000)", format: "JSONEachRow" });
    let received = 0;
    for await (const batch of rows.stream()) received += batch.length;
    expect(received).toBe(50_000);
    expect(await count("TraceId = 'zipped'")).toBe(2);
    await client.close();
  });

  it("gets ClickHouse's errors", async () => {
    const query = (sql: string): Promise<unknown> => reader.query({ query: sql });
    await expect(query("SELEC 1")).rejects.toMatchObject({ code: "62" });
    await expect(query("SELECT * FROM nothing")).rejects.toMatchObject({ code: "60", type: "UNKNOWN_TABLE" });
    await expect(query("SELECT throwIf(1)")).rejects.toMatchObject({ code: "395" });
    await expect(reader.insert({ table: "otel_traces", values: [span("x")], format: "JSONEachRow" })).rejects.toThrow(
      /Not enough privileges/,
    );
    await expect(reader.command({ query: "DROP TABLE otel_traces" })).rejects.toMatchObject({ code: "497" });
    const wrong = createClient({ ...engine.writer, password: "guess", ...quiet });
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
    const rows = await reader.query({ query, format: "JSONEachRow", clickhouse_settings: settings });
    expect(await rows.json()).toEqual([{ n: "1", t: 10, r: 1 }]);
    const lift = reader.query({ query, clickhouse_settings: { max_rows_in_set: "1" } });
    await expect(lift).rejects.toMatchObject({ code: "164" });
    await expect(reader.query({ query: "SELECT number FROM numbers(100001)" })).rejects.toMatchObject({ code: "396" });
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
    const get = await send("/?query=SELECT%201%20AS%20a%20FORMAT%20JSONCompact&query_id=mine");
    expect(JSON.parse(get.text)).toMatchObject({ data: [[1]] });
    expect(get.headers.get("x-clickhouse-format")).toBe("JSONCompact");
    expect(get.headers.get("x-clickhouse-query-id")).toBe("mine");
    expect(get.headers.get("content-type")).toBe("application/json; charset=UTF-8");
    expect(JSON.parse(get.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({ read_rows: "1" });
    expect(get.headers.get("access-control-allow-origin")).toBeNull();
    expect((await ask("SELECT 2")).text).toBe("2\n");
    expect((await ask("+ 2", "query=SELECT%202")).text).toBe("4\n");
    expect((await ask("SELECT {x:UInt8}", "param_x=7&default_format=CSV")).text).toBe("7\n");
    expect((await send("/ping")).text).toBe("Ok.\n");
    expect((await send("/")).text).toBe("Ok.\n");
    expect((await send("/play")).status).toBe(404);
    expect((await send("/", { method: "PUT", body: "SELECT 1" })).status).toBe(400);
  });

  it("answers errors with the code in the header, the text as body, a fitting status", async () => {
    const syntax = await ask("SELEC");
    expect(syntax.status).toBe(400);
    expect(syntax.headers.get("x-clickhouse-exception-code")).toBe("62");
    expect(syntax.text).toMatch(
      /^Code: 62\. DB::Exception: Syntax error: .*\(SYNTAX_ERROR\) \(version 26\.[\d.]+\)\n$/s,
    );
    expect((await ask("SELECT * FROM nothing")).status).toBe(404);
    expect((await ask("")).status).toBe(400);
    expect((await ask("SELECT 1", "database=system")).status).toBe(404);
    expect((await ask("SELECT 1", "default_format=x%0d%0ay")).status).toBe(404);
    expect((await ask("SELECT 1", "query_id=a%0d%0ab")).status).toBe(400);
    expect((await ask("SELECT 1", "compress=1")).status).toBe(501);
    expect((await ask(`SELECT '${"x".repeat(300_000)}'`)).status).toBe(413);
    expect((await send("/", { method: "POST", body: Uint8Array.from([0x53, 0xff]) })).status).toBe(400);
    expect((await ask("SELECT '\0'")).status).toBe(400);
  });

  it.each(["gzip", "zstd"])("compresses answers with %s only where asked to", async (encoding) => {
    const search = "/?query=SELECT%20repeat('a',1000)&enable_http_compression=";
    const raw = (path: string): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        httpRequest(
          `${engine.url}${path}`,
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
    const plain = (await ask(sql, "default_format=Native")).body;
    const framed = (await ask(sql, "default_format=Native&client_protocol_version=54460")).body;
    // 8 bytes for the block and 1 a column are added; that no column's end is missed shows in every name being found.
    expect(framed.length).toBe(plain.length + 8 + types.length);
    expect(framed).toEqual(Buffer.from(frameNative(plain, 54_460)));
    const hello = await ask(
      "SELECT displayName(), version(), revision(), timezone()",
      "default_format=Native&client_protocol_version=54460&database=otel_audit",
    );
    expect(hello.body.subarray(0, 10)).toEqual(Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 4, 1]));
  });
});

const withHost = (headers: Record<string, string>): Promise<number> =>
  new Promise((resolve, reject) => {
    httpRequest(`${engine.url}/?query=SELECT+1`, { headers }, (response) => resolve(response.resume().statusCode ?? 0))
      .on("error", reject)
      .end();
  });

describe("who may ask", () => {
  it("refuses hosts and origins from elsewhere", async () => {
    expect(await withHost({ host: "localhost" })).toBe(200);
    expect(await withHost({ host: "rebind.example:8123" })).toBe(403);
    expect(await withHost({ host: "localhost", origin: "http://evil.example" })).toBe(403);
    const response = await fetch(`${engine.url}/ping`, { headers: { origin: "http://evil.example" } });
    expect([response.status, response.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  });

  it("closes a connection whose headers do not come", async () => {
    const socket = connect(Number(new URL(engine.url).port), "127.0.0.1");
    socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    const closed = new Promise((resolve) => socket.resume().once("close", () => resolve("closed")));
    expect(await closed).toBe("closed");
  });
});

/** Statements that must fail for a reader, and for the writer where they are not an INSERT. */
const HOSTILE = [
  // Files.
  "SELECT file('/etc/passwd')",
  "SELECT `file`('/etc/passwd')",
  "SELECT \"file\"('/etc/passwd')",
  "SELECT file/**/('/etc/passwd')",
  "SELECT FILE('/etc/passwd')",
  "SELECT arrayMap(file, ['/etc/passwd'])",
  "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
  "SELECT * APPLY(file) FROM (SELECT '/etc/passwd' AS x)",
  "SELECT * APPLY file FROM (SELECT '/etc/passwd' AS x)",
  "SELECT * APPLY(x -> file(x)) FROM (SELECT '/etc/passwd' AS x)",
  "SELECT COLUMNS('x') APPLY(`file`) FROM (SELECT '/etc/passwd' AS x)",
  "SELECT * REPLACE(file(x) AS x) FROM (SELECT '/etc/passwd' AS x)",
  "WITH x -> file(x) AS f SELECT f('/etc/passwd')",
  "WITH file AS f SELECT arrayMap(f, ['/etc/passwd'])",
  "EXPLAIN SELECT file('/etc/passwd')",
  "EXPLAIN SYNTAX SELECT file('/etc/passwd')",
  "DESCRIBE (SELECT file('/etc/passwd') AS x)",
  "SELECT * FROM view(SELECT file('/etc/passwd'))",
  "SELECT (SELECT file('/etc/passwd'))",
  "SELECT 1 UNION ALL SELECT length(file('/etc/passwd'))",
  "SELECT 1 WHERE file('/etc/passwd') != ''",
  "SELECT 1 ORDER BY file('/etc/passwd')",
  "SELECT 1 LIMIT length(file('/etc/passwd'))",
  "SELECT * FROM file('/etc/passwd', 'LineAsString')",
  "SELECT * FROM fileCluster('x', '/etc/passwd')",
  "SELECT * FROM filesystem('/etc')",
  "SELECT * FROM default.`/etc/passwd`",
  "SELECT * FROM `/etc/passwd`",
  "SELECT * FROM '/etc/passwd'",
  "DESCRIBE TABLE file('/etc/passwd', 'LineAsString')",
  "SELECT * FROM sqlite('/etc/x.db', 't')",
  "SELECT * FROM icebergLocal('/etc')",
  "SELECT * FROM deltaLakeLocal('/etc')",
  "SELECT catboostEvaluate('/etc/passwd', 1)",
  "SELECT 1 INTO OUTFILE 'OUTSIDE'",
  "SELECT 1 INTO OUTFILE 'OUTSIDE' TRUNCATE FORMAT CSV",
  "SHOW TABLES INTO OUTFILE 'OUTSIDE'",
  "EXPLAIN SELECT 1 INTO OUTFILE 'OUTSIDE'",
  "DESCRIBE TABLE otel_traces INTO OUTFILE 'OUTSIDE'",
  "SELECT 1/**/INTO/**/OUTFILE/**/'OUTSIDE'",
  "SELECT 1 FORMAT Template SETTINGS format_template_row = '/etc/passwd'",
  "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '/etc/passwd:x'",
  // Other machines.
  "SELECT * FROM url('http://169.254.169.254/', 'LineAsString')",
  "SELECT * FROM urlCluster('x', 'http://127.0.0.1/', 'LineAsString')",
  "SELECT * FROM s3('http://127.0.0.1/x', 'LineAsString')",
  "SELECT * FROM gcs('http://127.0.0.1/x')",
  "SELECT * FROM azureBlobStorage('x', 'y', 'z')",
  "SELECT * FROM hdfs('hdfs://127.0.0.1/x', 'TSV')",
  "SELECT * FROM remote('127.0.0.1', system.one)",
  "SELECT * FROM remoteSecure('127.0.0.1', system.one)",
  "SELECT * FROM cluster('default', system.one)",
  "SELECT * FROM clusterAllReplicas('default', system.one)",
  "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
  "SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
  "SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'x UInt8')",
  "SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')",
  "SELECT * FROM odbc('x', 'y', 'z')",
  "SELECT * FROM jdbc('x', 'y', 'z')",
  "SELECT hasColumnInTable('127.0.0.1', 'a', 'b', 'c', 'd', 'e')",
  "SELECT aiGenerate('x', 'y')",
  "SELECT aiEmbed('x')",
  // Programs and other ways to have text run.
  "SELECT * FROM executable('x', 'TSV', 'a UInt8')",
  "SELECT * FROM python('x')",
  "SELECT * FROM eval('SELECT 1')",
  "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
  "SELECT * FROM merge('system', 'processes')",
  "SELECT * FROM merge('.*')",
  "SELECT * FROM loop(system.processes)",
  "SELECT * FROM dictionary('x')",
  "SELECT dictGet('x', 'y', 1)",
  "SELECT joinGet('x', 'y', 1)",
  "SELECT * FROM input('a UInt8')",
  "SELECT * FROM fuzzQuery('SELECT 1')",
  // What the engine knows about itself and others.
  "SELECT * FROM system.processes",
  "SELECT * FROM system.`processes`",
  'SELECT * FROM "system"."processes"',
  "SELECT * FROM system . processes",
  "SELECT 1 FROM system.one JOIN system.processes ON 1",
  "SELECT * FROM (SELECT * FROM system.users)",
  "SELECT 1 WHERE 1 IN (SELECT 1 FROM system.grants)",
  "WITH p AS (SELECT * FROM system.processes) SELECT * FROM p",
  "EXISTS TABLE system.query_log",
  "DESCRIBE TABLE system.processes",
  "SELECT * FROM system.server_settings",
  "SELECT * FROM system.disks",
  "SELECT * FROM system.parts",
  "SELECT * FROM system.stack_trace",
  "SELECT * FROM system.user_directories",
  "SELECT * FROM system.certificates",
  "SHOW PROCESSLIST",
  "SHOW GRANTS",
  "SHOW USERS",
  "SHOW ACCESS",
  "SHOW CREATE USER default",
  "SELECT getServerPort('tcp_port')",
  "SELECT getMacro('x')",
  "SELECT showCertificate()",
  "SELECT filesystemAvailable()",
  "SELECT addressToLine(toUInt64(1))",
  "SELECT logTrace('x')",
  // Time and memory.
  "SELECT sleep(3)",
  "SELECT sleepEachRow(1) FROM numbers(3)",
  "SELECT 1 SETTINGS max_execution_time = 0",
  "SELECT 1 SETTINGS max_memory_usage = 1e18",
  "SELECT 1 SETTINGS readonly = 0",
  "SELECT 1 SETTINGS allow_introspection_functions = 1",
  // More than one statement, or another one.
  "SELECT 1; SELECT 2",
  "SELECT 1; DROP TABLE otel_traces",
  "SELECT 1;;DROP TABLE otel_traces",
  "SELECT 1 PARALLEL WITH SELECT 2",
  "SET readonly = 0",
  "SET max_execution_time = 0",
  "USE system",
  "KILL QUERY WHERE 1",
  "KILL MUTATION WHERE 1",
  "SYSTEM SHUTDOWN",
  "SYSTEM FLUSH LOGS",
  "CHECK TABLE otel_traces",
  "EXPLAIN AST DROP TABLE otel_traces",
  "EXPLAIN SYNTAX INSERT INTO otel_traces (TraceId) VALUES ('x')",
  "EXPLAIN CURRENT TRANSACTION",
  "BEGIN TRANSACTION",
  "COMMIT",
  "BACKUP DATABASE otel_audit TO File('OUTSIDE')",
  "INSERT INTO otel_traces (TraceId) SELECT 'x'",
  "INSERT INTO FUNCTION file('OUTSIDE', 'TSV', 'a UInt8') SELECT 1",
  "INSERT INTO otel_traces FROM INFILE '/etc/passwd' FORMAT TSV",
  "ALTER TABLE otel_traces UPDATE SpanName = 'x' WHERE 1",
  "ALTER TABLE otel_traces DELETE WHERE 1",
  "DELETE FROM otel_traces WHERE 1",
  "TRUNCATE TABLE otel_traces",
  "DROP TABLE otel_traces",
  "OPTIMIZE TABLE otel_traces FINAL",
  "CREATE TABLE x (a UInt8) ENGINE = Memory",
  "CREATE TEMPORARY TABLE x (a UInt8)",
  "CREATE FUNCTION x AS (y) -> y",
  "ATTACH TABLE x",
  "DETACH TABLE otel_traces",
  "GRANT ALL ON *.* TO default",
  "EXECUTE AS default SELECT 1",
  "selec",
  "1",
  "",
  ";",
  "-- SELECT 1",
];

/** What analysts and their clients send. */
const FRIENDLY = [
  "SELECT 1;",
  "(SELECT 1)",
  "/* a */ SELECT 1 -- b",
  "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
  "FROM otel_traces SELECT count()",
  "SELECT 1 UNION ALL SELECT 2",
  "SELECT TraceId, SpanAttributes['file.path'] AS path, count() FROM otel_traces GROUP BY ALL ORDER BY path LIMIT 10",
  "SELECT CASE WHEN 1 THEN 'a' ELSE 'b' END, CASE 1 WHEN 2 THEN 'x' ELSE 'y' END",
  "SELECT arrayMap(x -> x + 1, [1, 2]), CAST(1 AS String), 1::Int64, INTERVAL 1 DAY, DATE '2026-01-01'",
  "SELECT count() OVER (PARTITION BY TraceId ORDER BY Timestamp) FROM otel_traces",
  "SELECT * FROM numbers(3) AS n JOIN (SELECT 1 AS number) AS m USING (number)",
  "SELECT toStartOfInterval(Timestamp, INTERVAL 1 HOUR) AS t, uniq(TraceId) FROM otel_audit.otel_traces WHERE Timestamp > now() - INTERVAL 1 YEAR GROUP BY t",
  "SELECT SHA256(concat(char(0), formatRow('RowBinary', 1))), format('{}', 'a'), JSONExtractString('{}', 'a')",
  "SELECT Action, count() FROM audit_events_once GROUP BY Action",
  "SELECT * EXCEPT (TraceId) APPLY(toString) FROM otel_traces",
  "SHOW TABLES",
  "SHOW TABLES LIKE 'audit%'",
  "SHOW DATABASES",
  "SHOW COLUMNS FROM otel_traces",
  "SHOW CREATE TABLE audit_events",
  "DESCRIBE TABLE otel_traces",
  "DESC otel_traces",
  "EXISTS TABLE otel_traces",
  "EXPLAIN SELECT 1",
  "EXPLAIN indexes = 1, actions = 1 SELECT count() FROM audit_events WHERE ActorId = 'a'",
  "EXPLAIN PIPELINE header = 1 SELECT 1",
  "EXPLAIN ESTIMATE SELECT count() FROM otel_traces",
  "EXPLAIN QUERY TREE SELECT 1",
  "SELECT name, type FROM system.columns WHERE database = 'otel_audit'",
  "SELECT name FROM system.tables WHERE database = currentDatabase()",
  "SELECT name FROM system.databases",
  "SELECT name FROM system.functions LIMIT 1",
  "SELECT displayName(), version(), revision(), timezone()",
  "SELECT table_name FROM information_schema.tables",
];

describe("a reader's statement", () => {
  it.each(HOSTILE)("is refused: %s", async (sql) => {
    const outside = join(dataDir, "outside");
    const answer = await ask(sql.replace("OUTSIDE", outside));
    expect([answer.status, answer.text]).not.toEqual([200, answer.text]);
    expect(answer.text).toMatch(/^Code: \d+\. DB::Exception: /);
    expect(answer.text).not.toContain("root:x:0");
    expect(existsSync(outside)).toBe(false);
  });

  it.each(FRIENDLY)("is answered: %s", async (sql) => {
    const answer = await ask(sql);
    expect([answer.status, answer.text]).toEqual([200, answer.text]);
  });

  it("cannot name by a parameter what it may not name", async () => {
    const sql = "SELECT * FROM {d:Identifier}.{t:Identifier}";
    expect((await ask(sql, "param_d=system&param_t=one")).status).toBe(200);
    for (const table of ["processes", "process\\x65s", "pro\\cesses", "users"]) {
      const answer = await ask(sql, `param_d=system&param_t=${encodeURIComponent(table)}`);
      expect(answer.status).not.toBe(200);
    }
    const call = "SELECT arrayMap({f:Identifier}, ['/etc/passwd'])";
    expect((await ask(call, "param_f=upper")).text).toBe("['/ETC/PASSWD']\n");
    expect((await ask(call, "param_f=file")).status).toBe(403);
    expect((await ask("SELECT 1", "param_x%27=1")).status).toBe(400);
    expect((await ask("SELECT {x:String}", `param_x=${encodeURIComponent("', readonly = '0")}`)).text).toBe(
      "\\', readonly = \\'0\n",
    );
  });

  it("left everything as it was", async () => {
    expect(await count("TraceId = 'kept'")).toBe(1);
    expect((await ask("SHOW TABLES")).text).toContain("otel_traces\n");
  });
});

describe("the writer", () => {
  it.each(HOSTILE.filter((sql) => !/system\b/i.test(sql) && !sql.startsWith("SELECT * FROM merge")))(
    "is refused as well: %s",
    async (sql) => {
      const outside = join(dataDir, "outside");
      const answer = await send("/", { method: "POST", body: sql.replace("OUTSIDE", outside), headers: asWriter() });
      expect(answer.status).not.toBe(200);
      expect(existsSync(outside)).toBe(false);
    },
  );

  const rows = `${JSON.stringify(span("body"))}\n`;
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
      const answer = await insert(into, body, { "Content-Encoding": encoding });
      expect([answer.status, answer.text]).toEqual([200, ""]);
      expect(JSON.parse(answer.headers.get("x-clickhouse-summary") ?? "")).toMatchObject({ written_rows: "1" });
    }
    const behind = await send("/", { method: "POST", body: `${into}\n${rows}${rows}`, headers: asWriter() });
    expect([behind.status, behind.text]).toEqual([200, ""]);
    const values = `INSERT INTO otel_traces (TraceId) VALUES ('body'), ('body')`;
    expect((await send("/", { method: "POST", body: values, headers: asWriter() })).status).toBe(200);
    expect(await count("TraceId = 'body'")).toBe(9);
  });

  it("gets clear errors for broken bodies, and the next good one works", async () => {
    const status = async (body: string | Uint8Array, headers: Record<string, string>): Promise<number> =>
      (await insert(into, body, headers)).status;
    expect(await status("no gzip", { "Content-Encoding": "gzip" })).toBe(400);
    expect(await status(gzipSync(rows).subarray(0, 30), { "Content-Encoding": "gzip" })).toBe(400);
    expect(await status(rows, { "Content-Encoding": "lz4" })).toBe(415);
    expect(await status("{not json", {})).toBe(400);
    expect(await status(gzipSync(Buffer.alloc(300 * 2 ** 20)), { "Content-Encoding": "gzip" })).toBe(413);
    expect((await insert("INSERT INTO otel_traces FORMAT Nothing", rows)).status).toBe(404);
    expect((await insert("INSERT INTO system.one FORMAT TSV", "1")).status).toBe(403);
    expect((await insert("INSERT INTO nothing FORMAT TSV", "1")).status).toBe(404);
    expect((await insert(`${into} SETTINGS x = 1`, rows)).status).not.toBe(200);
    expect(await status(rows.replace("body", "after"), {})).toBe(200);
    expect(await count("TraceId = 'after'")).toBe(1);
  });

  it("cannot write by GET", async () => {
    const path = `/?query=${encodeURIComponent("INSERT INTO otel_traces (TraceId) VALUES ('got')")}`;
    expect((await send(path, { headers: asWriter() })).status).not.toBe(200);
    expect(await count("TraceId = 'got'")).toBe(0);
  });

  it("keeps one block one block: one part, and one token", async () => {
    const select =
      "SELECT toDateTime64('2026-01-01 00:00:00', 9) AS Timestamp, 'block' AS TraceId, repeat('x', 300) AS SpanName FROM numbers(200000)";
    const block = await send("/?default_format=Native&max_block_size=1000000", {
      method: "POST",
      body: select,
      headers: asWriter(),
    });
    expect(block.body.length).toBeGreaterThan(60_000_000);
    const settings = "async_insert=0&insert_deduplicate=1&insert_deduplication_token=t1";
    const query = encodeURIComponent("INSERT INTO otel_traces (Timestamp, TraceId, SpanName) FORMAT Native");
    for (let time = 0; time < 2; time++) {
      const answer = await send(`/?${settings}&query=${query}`, {
        method: "POST",
        body: Uint8Array.from(block.body),
        headers: asWriter(),
      });
      expect([answer.status, answer.text]).toEqual([200, ""]);
    }
    const parts = await ask("SELECT count(), uniqExact(_part) FROM otel_traces WHERE TraceId = 'block'");
    expect(["200000\t1\n", "400000\t2\n"]).toContain(parts.text);
  });

  it("sees its own inserts under way in system.processes, and readers do not", async () => {
    const running = `SELECT count() FROM system.processes WHERE query_kind = 'Insert' AND startsWith(query_id, 'slow-')`;
    const look = async (): Promise<string> =>
      (await send("/", { method: "POST", body: running, headers: asWriter() })).text;
    expect(await look()).toBe("0\n");
    const { readable: body, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const upload = writable.getWriter();
    void upload.write(Buffer.from(rows));
    const path = `/?query_id=slow-1&query=${encodeURIComponent(into)}`;
    const slow = send(path, { method: "POST", body, duplex: "half", headers: asWriter() });
    while ((await look()) !== "1\n") await sleep(20);
    const twin = await send(path, { method: "POST", body: rows, headers: asWriter() });
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
      send(`/?query_id=long-${n}`, { method: "POST", body: LONG, signal: leaving.signal }).catch(() => "left"),
    );
    const running = `SELECT count() FROM system.processes WHERE startsWith(query_id, 'long-')`;
    const look = async (): Promise<string> =>
      (await send("/", { method: "POST", body: running, headers: asWriter() })).text;
    while ((await look()) !== "4\n") await sleep(20);
    for (let n = 0; n < 5; n++) {
      await writer.insert({ table: "otel_traces", values: [span("beside")], format: "JSONEachRow" });
    }
    expect(await look()).toBe("4\n");
    leaving.abort();
    expect(await Promise.all(long)).toEqual(["left", "left", "left", "left"]);
    while ((await look()) !== "0\n") await sleep(20);
    expect(await count("TraceId = 'beside'")).toBe(5);
  });

  it("keeps parameters and settings of parallel queries apart", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        ask("SELECT {n:UInt32} + 0", `param_n=${n}&output_format_json_quote_64bit_integers=${n % 2}`),
      ),
    );
    expect(answers.map(({ text }) => text)).toEqual(Array.from({ length: 40 }, (_, n) => `${n}\n`));
  });

  it("ends a query at the time limit", async () => {
    const answer = await ask(LONG, "max_execution_time=1");
    expect([answer.status, answer.headers.get("x-clickhouse-exception-code")]).toEqual([408, "159"]);
  });
});
