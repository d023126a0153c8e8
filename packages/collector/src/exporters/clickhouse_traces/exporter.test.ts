import { expect, it } from "vitest";
import { startHttpApi } from "../../../../../test/support/index.ts";
import { testContext } from "../../testing/context.ts";
import { clickhouseTracesConfig } from "./config.ts";
import { ClickhouseTracesExporter } from "./exporter.ts";
import { SPAN, batchOf } from "../../testing/spans.ts";

it("creates the tables of a server that was away at the start when an insert finds none", async () => {
  // Not a ClickHouse: one that is reached only later, and empty, is not to be had otherwise.
  let tables = false;
  await using server = await startHttpApi({
    routes: {
      "POST /*": ({ query, body }) => {
        const statement = `${query["query"] ?? ""} ${body}`;
        if (/CREATE TABLE IF NOT EXISTS otel_audit\.otel_traces\b/.test(statement)) tables = true;
        if (tables || !statement.includes("INSERT INTO")) return {};
        const error = "Code: 60. DB::Exception: Table otel_audit.otel_traces does not exist. (UNKNOWN_TABLE)";
        return { status: 404, headers: { "x-clickhouse-exception-code": "60" }, body: error };
      },
    },
  });
  server.failNext({ destroy: true }, 1);
  const context = testContext("clickhouse_traces");
  const exporter = new ClickhouseTracesExporter(clickhouseTracesConfig.parse({ endpoint: server.url }), context);
  await exporter.start();
  expect(tables).toBe(false);
  await exporter.consume(batchOf([SPAN]));
  expect(await exporter.drain(20_000)).toBe(true);
  const { values } = await context.telemetry.sent.traces.get();
  expect({ tables, sent: values[0]?.value }).toEqual({ tables: true, sent: 1 });
  await exporter.shutdown();
});
