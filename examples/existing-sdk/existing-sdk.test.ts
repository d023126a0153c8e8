// Runs the example with the collector, once with everything sampled away and once with nothing.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  otelAudit,
  startCollector,
  startHttpApi,
  startOtlpSink,
  startProcess,
  tempDir,
  type HttpApi,
  type OtlpSink,
  type RunningCollector,
} from "../../test/support/index.ts";

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const dataDir = tempDir("existing-sdk");
let api: HttpApi;
let sink: OtlpSink;
let collector: RunningCollector;
beforeAll(async () => {
  sink = await startOtlpSink();
  api = await startHttpApi({ routes: { "GET /orders": { body: [{ id: 1001 }] } } });
  const env = { TEST_DEBUG_BACKEND: sink.url };
  collector = await startCollector({ dataDir, config: path("../../test/apps/collector.yaml"), env });
});
afterAll(async () => {
  await collector[Symbol.asyncDispose]();
  await api.close();
  await sink.close();
});

async function runExample(ratio: string): Promise<string> {
  const reports = tempDir("reports");
  await using agent = await startProcess(process.execPath, ["--import", path("instrumentation.ts"), path("agent.ts")], {
    env: {
      NODE_OPTIONS: undefined,
      SAMPLE_RATIO: ratio,
      ORDERS_API: api.url,
      REPORTS: reports,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoints.otlpHttp,
      OTEL_AUDIT_SPOOL_DIR: join(reports, "spool"),
      OTEL_SERVICE_NAME: "reports",
    },
  });
  const { code } = await agent.exited;
  if (code !== 0) throw new Error(agent.stderr);
  expect(readFileSync(join(reports, "today.json"), "utf8")).toBe('[{"id":1001}]');
  return reports;
}

async function query(): Promise<string[]> {
  const args = [otelAudit, "query", "--data", dataDir, "--workflow", "daily-report", "--format", "jsonl"];
  await using run = await startProcess(process.execPath, args);
  const { code } = await run.exited;
  if (code !== 0) throw new Error(run.stderr);
  return run.stdout
    .split("\n")
    .filter(Boolean)
    .map((text) => {
      const row = JSON.parse(text) as Record<string, string>;
      return `${row["ActorId"]} for ${row["OnBehalfOf"]}: ${row["Action"]} ${row["TargetId"]} ${row["Outcome"]}`;
    });
}

const records = (reports: string): string[] =>
  [
    `READ ${api.url}/orders success`,
    `CREATE file://${reports} success`,
    `WRITE file://${reports}/today.json success`,
  ].map((action) => `agent:reports for user:4711: ${action}`);

it("records every action at any sampling ratio; the debug backend has what was sampled", async () => {
  const first = await runExample("0");
  await expect.poll(query).toEqual(records(first));
  expect(sink.spans).toEqual([]);

  const second = await runExample("1");
  await expect.poll(query).toEqual([...records(first), ...records(second)]);
  await expect.poll(() => sink.spans.map(({ name }) => name).toSorted()).toEqual(["GET", "daily report"]);
});
