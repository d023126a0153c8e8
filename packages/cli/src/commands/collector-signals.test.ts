// The real command as a process, with signals from outside, a log that nobody can read, and a terminal that goes away.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { startProcess, tempDir, type RunningProcess } from "../../../../test/support/index.ts";
import { startInShell, startOtelAudit } from "../testing/command.ts";

interface Place {
  readonly args: readonly string[];
  /** There while the collector runs, with its addresses. */
  readonly stateFile: string;
}

/** Free ports, and a ClickHouse that is away: a stop then tries for `shutdown_timeout`. */
function place(shutdownTimeout: string): Place {
  const dir = tempDir("signals");
  const config = join(dir, "c.yaml");
  writeFileSync(
    config,
    `receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
exporters: { clickhouse_audit: { endpoint: "http://127.0.0.1:1", shutdown_timeout: ${shutdownTimeout} } }
service:
  pipelines: { traces: { receivers: [otlp], exporters: [clickhouse_audit] } }
  telemetry: { metrics: { address: "127.0.0.1:0" } }
`,
  );
  const data = join(dir, "data");
  return { args: ["collector", "--config", config, "--data", data], stateFile: join(data, "collector.json") };
}

interface State {
  readonly pid: number;
  readonly endpoints: { readonly otlpHttp: string; readonly metrics: string };
}

function state({ stateFile }: Place): State {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by our own collector
  return JSON.parse(readFileSync(stateFile, "utf8")) as State;
}

/** The status of a request with one audit span: 200 when it is on disk. */
async function send(at: Place): Promise<number> {
  const span = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    name: "n",
    startTimeUnixNano: "1",
    endTimeUnixNano: "2",
    attributes: Object.entries({ "audit.action": "READ", "audit.record.id": "r" }).map(([key, value]) => ({
      key,
      value: { stringValue: value },
    })),
  };
  const response = await fetch(`${state(at).endpoints.otlpHttp}/v1/traces`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] }),
  });
  return response.status;
}

async function ready(at: Place): Promise<RunningProcess> {
  const collector = await startOtelAudit(at.args);
  await collector.waitForLine("collector is ready");
  return collector;
}

it("goes on at signals that mean something to others, says so, and opens no debugger", async () => {
  const at = place("0s");
  await using collector = await ready(at);
  for (const [signal, text] of [
    ["SIGHUP", "configuration is read at the start only"],
    ["SIGUSR1", "means nothing to it"],
    ["SIGUSR2", "means nothing to it"],
  ] as const) {
    process.kill(collector.pid, signal);
    expect(JSON.parse(await collector.waitForLine(signal))).toMatchObject({
      signal,
      msg: expect.stringContaining(text),
    });
  }
  process.kill(collector.pid, "SIGPIPE");
  expect(await send(at)).toBe(200);
  expect(await collector.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  expect(collector.stderr).not.toContain("Debugger");
  expect(existsSync(at.stateFile)).toBe(false);
});

it("ends at once at a second signal, and the next start has what was acknowledged", async () => {
  const at = place("10m");
  {
    await using collector = await ready(at);
    expect(await send(at)).toBe(200);
    process.kill(collector.pid, "SIGTERM");
    await collector.waitForLine("the collector stops");
    expect(await collector.kill("SIGINT")).toEqual({ code: null, signal: "SIGINT" });
  }
  await using next = await ready(at);
  const metrics = async (): Promise<string> => (await fetch(`${state(at).endpoints.metrics}/metrics`)).text();
  await expect.poll(metrics).toMatch(/^otel_audit_log_bytes(\{.*\})? [1-9]/m);
  process.kill(next.pid, "SIGINT");
  await next.waitForLine("the collector stops");
  expect(await next.kill("SIGTERM")).toEqual({ code: null, signal: "SIGTERM" });
});

it.each([
  ["cannot be written", '"$@" 2</dev/null; echo "ended with $?"'],
  ["has lost its reader", '{ { "$@" 2>&1; echo "ended with $?" >&3; } | head -n 1; } 3>&1'],
])("runs on while its log %s", async (_what, script) => {
  const at = place("0s");
  await using shell = await startInShell(script, at.args);
  while (!existsSync(at.stateFile)) await sleep(10);
  const { pid } = state(at);
  process.kill(pid, "SIGHUP");
  expect(await send(at)).toBe(200);
  process.kill(pid, "SIGTERM");
  await shell.waitForLine(/^ended with 0$/);
});

it("stops in order when its terminal is gone, however often it is told", async () => {
  const file = JSON.stringify(join(import.meta.dirname, "collector-signals.ts"));
  const script = `
    const { CollectorSignals } = await import(${file});
    const signals = new CollectorSignals(true);
    setInterval(() => {}, 1000);
    console.log("up");
    await signals.stopped;
    console.log("stops");
    process.stdin.once("data", () => process.exit(7));`;
  await using child = await startProcess(process.execPath, ["--input-type=module", "-e", script]);
  await child.waitForLine("up");
  process.kill(child.pid, "SIGHUP");
  await child.waitForLine("stops");
  process.kill(child.pid, "SIGHUP");
  child.stdin.write("x");
  expect(await child.exited).toEqual({ code: 7, signal: null });
});
