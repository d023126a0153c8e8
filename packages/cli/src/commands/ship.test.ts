import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  freePort,
  startCollector,
  startOtlpSink,
  startProcess,
  tempDir,
  type RunningCollector,
  type RunningProcess,
} from "../../../../test/support/index.ts";
import { otelAudit } from "../testing/command.ts";

const REGISTER = import.meta.resolve("@otel-audit/instrumentation-node/register");
const CONFIG = `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
connectors: { audit_router: { audit: [traces/audit] } }
processors: { audit: {} }
exporters: { clickhouse_audit: { engine: clickhouse_embedded, segment: { max_age: 100 } } }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" } }
service:
  extensions: [clickhouse_embedded]
  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
`;

let collector: RunningCollector;
beforeAll(async () => {
  const dir = tempDir("ship-collector");
  writeFileSync(join(dir, "collector.yaml"), CONFIG);
  mkdirSync(join(dir, "data"));
  collector = await startCollector({ dataDir: join(dir, "data"), config: join(dir, "collector.yaml") });
});
afterAll(() => collector[Symbol.asyncDispose]());

/** A process that reads a file, with nobody to send its records to. */
async function startAgent(spoolDir: string, agent: string, then: string): Promise<RunningProcess> {
  const script = join(tempDir("ship-agent"), "agent.mjs");
  writeFileSync(script, `import { readFileSync } from "node:fs"; readFileSync(import.meta.filename); ${then}`);
  return startProcess(process.execPath, ["--import", REGISTER, script], {
    env: {
      NODE_OPTIONS: undefined,
      OTEL_AUDIT_AGENT_ID: agent,
      OTEL_AUDIT_SPOOL_DIR: spoolDir,
      OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort()}`,
    },
  });
}

async function leave(agent: string): Promise<string> {
  const dir = tempDir("ship-spool");
  await using child = await startAgent(dir, agent, "process.kill(process.pid, 'SIGKILL');");
  await child.exited;
  expect(readdirSync(dir)).not.toEqual([]);
  return dir;
}

const readsOf = (agent: string): Promise<unknown[]> =>
  collector.sql(`SELECT 1 FROM otel_audit.audit_events WHERE ActorId = '${agent}' AND EventName = 'file.read'`);

describe("ship", () => {
  it("sends what a killed process left, once, and says how much", async () => {
    const dir = await leave("killed");
    const { otlpHttp } = collector.endpoints;
    const shipped = await otelAudit("ship", dir, "--endpoint", otlpHttp);
    expect(shipped).toMatchObject({ code: 0, stderr: "" });
    expect(shipped.stdout).toMatch(new RegExp(`^\\d+ records sent to ${otlpHttp}\n$`));
    await expect.poll(() => readsOf("killed")).toHaveLength(1);
    const env = { OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: otlpHttp };
    const again = await otelAudit.with({ env }, "ship", dir, "--json");
    expect(again).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(again.stdout)).toEqual({
      ok: true,
      dir,
      endpoint: otlpHttp,
      shipped: 0,
      refused: 0,
      left: 0,
      why: null,
    });
  });

  it("leaves everything where it is when nobody answers as ours, and says why", async () => {
    const dir = await leave("waiting");
    await using stranger = await startOtlpSink();
    const args = ["ship", dir, "--timeout", "3", "--endpoint"];
    const refused = await otelAudit(...args, stranger.url, "--json");
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      ok: false,
      shipped: 0,
      why: expect.stringContaining("does not answer as an otel-audit collector"),
    });
    expect(stranger.spans).toEqual([]);
    const nobody = await otelAudit(...args, `http://127.0.0.1:${await freePort()}`);
    expect(nobody.code).toBe(1);
    expect(nobody.stdout).toMatch(/^0 records sent to \S+, \d+ left in .*: .*cannot be reached/);
    expect((await otelAudit("ship", dir, "--endpoint", collector.endpoints.otlpHttp)).code).toBe(0);
    await expect.poll(() => readsOf("waiting")).toHaveLength(1);
  });

  it("leaves a living process its records", async () => {
    const dir = tempDir("ship-living");
    await using living = await startAgent(dir, "living", "console.log('up'); setInterval(() => {}, 1000);");
    await living.waitForLine(/^up$/);
    const { code, stdout, stderr } = await otelAudit("ship", dir, "--endpoint", collector.endpoints.otlpHttp);
    expect(stdout).toMatch(/^0 records sent to \S+, \d+ left in .*: that is of processes that live/);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
  });

  it.each([
    [["no-such-dir"], '<dir>: there is no directory "no-such-dir"'],
    [["package.json"], '<dir>: "package.json" is not a directory'],
    [[".", "--endpoint", "nonsense"], '--endpoint: not a URL: "nonsense"'],
    [[".", "--endpoint", "ftp://x"], '--endpoint: must be http: or https:, got "ftp:"'],
    [[".", "--timeout", "0"], "It must be a whole number from 1 to 86400."],
    [[], "missing required argument 'dir'"],
  ])("refuses %j", async (args, message) => {
    const { code, stdout, stderr } = await otelAudit("ship", ...args);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });
});
