import { afterAll, beforeAll, expect, test } from "vitest";

import {
  type HttpApi,
  type OtlpSink,
  type Postgres,
  startHttpApi,
  startOtlpSink,
  startPostgres,
} from "../../../../test/support/index.ts";
import { type App, makeApp, PACKAGES, type Run, summary } from "../testing/run-app.ts";

// The official instrumentations of http, undici and pg in one application with ours.

let api: HttpApi;
let server: Postgres;

beforeAll(async () => {
  api = await startHttpApi();
  server = await startPostgres({ sql: "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1);" });
});
afterAll(async () => {
  await api.close();
  await server.close();
});

const SETUP = `
  const { TracerProvider, SimpleSpanProcessor } = require("@opentelemetry/sdk-trace");
  const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-proto");
  const { AsyncLocalStorageContextManager } = require("@opentelemetry/context-async-hooks");
  const { registerInstrumentations } = require("@opentelemetry/instrumentation");
  const api = require("@opentelemetry/api");
  const { BatchSpanProcessor } = require("@opentelemetry/sdk-trace");
  const provider = new TracerProvider({
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: process.env.DEBUG_URL }) })],
  });
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.trace.setGlobalTracerProvider(provider);
  const register = (...instrumentations) => registerInstrumentations({ instrumentations, tracerProvider: provider });`;

const OFFICIAL = `
  register(
    new (require("@opentelemetry/instrumentation-http").HttpInstrumentation)(),
    new (require("@opentelemetry/instrumentation-undici").UndiciInstrumentation)(),
    new (require("@opentelemetry/instrumentation-pg").PgInstrumentation)(),
  );`;

// The parser of SQL is loaded in the background: the application does what it always does first.
const OURS = `register(new (require("$PACKAGE").AuditInstrumentation)()); await new Promise((done) => setTimeout(done, 2000));`;

const WORK = `
  const http = require("http");
  const pg = require("pg");
  const { API, DB } = process.env;
  const pool = new pg.Pool({ connectionString: DB, max: 1 });
  await api.trace.getTracer("app").startActiveSpan("request", async (span) => {
    await new Promise((done) => http.get(API + "/by-http", (response) => response.resume().on("end", done)));
    await (await fetch(API + "/by-fetch")).text();
    await require("undici").request(API + "/by-undici").then(({ body }) => body.text());
    await pool.query("SELECT * FROM orders");
    await new Promise((done) => pool.query("UPDATE orders SET id = 2", done));
    await pool.query("SELECT * FROM nowhere").catch(() => {});
    const client = await pool.connect();
    await new Promise((done) => client.query(new pg.Query("DELETE FROM orders")).on("end", done));
    client.release();
    span.end();
  });
  await pool.end();
  await provider.shutdown();`;

const EXPECTED = [
  "http.request READ success http://API/by-http",
  "http.request READ success http://API/by-fetch",
  "http.request READ success http://API/by-undici",
  "db.statement READ success postgresql://DB/postgres/public.orders",
  "db.statement UPDATE success postgresql://DB/postgres/public.orders",
  "db.statement READ failure 42P01 postgresql://DB/postgres/public.nowhere",
  "db.statement DELETE success postgresql://DB/postgres/public.orders",
];

function app(source: string): Promise<App> {
  const require = `const require = process.getBuiltinModule("node:module").createRequire("${PACKAGES}");`;
  const ours = new URL("../../dist/index.js", import.meta.url).pathname;
  return makeApp({ "main.mjs": `${require}\n${source.replace("$PACKAGE", ours)}` });
}

function run(application: App, debug: OtlpSink, nodeArgs: readonly string[] | undefined): Promise<Run> {
  const env = { DEBUG_URL: debug.tracesUrl, API: api.url, DB: server.url };
  return application.run(nodeArgs === undefined ? { env } : { env, nodeArgs });
}

/** The debug spans as the application's backend gets them, without what differs from run to run. */
function shapes(debug: OtlpSink): string[] {
  const names = new Map(debug.spans.map((span) => [span.spanId, span.name]));
  return debug.spans
    .map((span) => `${span.scopeName}: ${span.name} in ${names.get(span.parentSpanId ?? "") ?? "-"}`)
    .toSorted();
}

test.each([
  ["register, official after", OFFICIAL, undefined],
  ["AuditInstrumentation, official after", OURS + OFFICIAL, []],
  ["AuditInstrumentation, official before", OFFICIAL + OURS, []],
] as const)("%s: one record an action, their spans untouched", async (_, set, nodeArgs) => {
  await using alone = await app(SETUP + OFFICIAL + WORK);
  await using aloneDebug = await startOtlpSink();
  expect(await run(alone, aloneDebug, [])).toMatchObject({ code: 0, actions: [] });

  await using both = await app(SETUP + set + WORK);
  await using debug = await startOtlpSink();
  const result = await run(both, debug, nodeArgs);
  expect(result).toMatchObject({ code: 0 });
  const records = result.actions
    .map(summary)
    .filter((line) => /^(?:http|db)\./.test(line) && !line.includes(new URL(debug.url).host))
    .map((line) => line.replace(`127.0.0.1:${api.port}`, "API").replace(`127.0.0.1:${server.port}`, "DB"));
  expect(records).toEqual(EXPECTED);
  expect(shapes(debug)).toEqual(shapes(aloneDebug));
  expect(shapes(debug).length).toBeGreaterThan(EXPECTED.length);
});
