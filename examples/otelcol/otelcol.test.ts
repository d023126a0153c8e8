// The real OpenTelemetry Collector with the configurations of this folder, between an agent and our collector. It is not
// built here: `npm run test:otelcol` builds it where Go is and then runs this.
import { OTLPTraceExporter as GrpcExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { OTLPTraceExporter as HttpExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, TracerProvider, type SpanExporter } from "@opentelemetry/sdk-trace";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findOtelcol } from "../../scripts/otelcol.ts";
import {
  freePort,
  otelAudit,
  startCollector,
  startOtelcol,
  startOtlpSink,
  startProcess,
  tempDir,
  type OtlpSink,
  type RunningCollector,
  type RunningProcess,
} from "../../test/support/index.ts";

const RECORDS = 10;
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const found = findOtelcol();
if (found.path === undefined) process.stderr.write(`examples/otelcol was NOT RUN: ${found.reason}\n`);

it("runs with the official collector, or says why it does not", () => {
  expect(found.path === undefined ? found.reason : found.version).toMatch(/otelcol/);
});

/** Ends as many debug spans as audit spans, and waits until all are acknowledged. */
async function act(name: string, exporter: SpanExporter): Promise<void> {
  const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] });
  const tracer = provider.getTracer("agent");
  for (let i = 0; i < RECORDS; i++) {
    tracer.startSpan(`debug ${name}-${i}`).end();
    const attributes = {
      "audit.event.name": "file.read",
      "audit.action": "READ",
      "audit.outcome": "success",
      "audit.actor.id": "tester",
      "audit.actor.type": "agent",
      "audit.record.id": `${name}-${i}`,
    };
    tracer.startSpan(`audit ${name}-${i}`, { attributes }).end();
  }
  await provider.forceFlush();
  await provider.shutdown();
}

/** What the table has, or the debug backend with a prefix, after these have acted. */
function all(names: readonly string[], prefix = ""): string[] {
  return names.flatMap((name) => Array.from({ length: RECORDS }, (_, i) => `${prefix}${name}-${i}`)).toSorted();
}

/** What the command prints for this collector, in a file. */
async function printed(endpoint: string, storage: string): Promise<string> {
  const args = [otelAudit, "print-config", "--for", "otelcol", "--endpoint", endpoint, "--storage", storage];
  await using command = await startProcess(process.execPath, args);
  const { code } = await command.exited;
  if (code !== 0) throw new Error(command.stderr);
  const piece = join(tempDir("otelcol-piece"), "otel-audit.yaml");
  writeFileSync(piece, command.stdout);
  return piece;
}

const VARIANTS = [
  { variant: "yours.yaml and what print-config prints", splits: false },
  { variant: "split.yaml", splits: true },
].map((variant) => ({ ...variant, ...found }));

describe.each(found.path === undefined ? [] : VARIANTS)("$version with $variant", ({ path: command, splits }) => {
  const dataDir = tempDir("otelcol-ours");
  const queue = tempDir("otelcol-queue");
  let sink: OtlpSink;
  let ports: { readonly ours: number; readonly http: number; readonly grpc: number };
  let ours: RunningCollector;
  let otelcol: RunningProcess;
  let configs: readonly string[];
  beforeAll(async () => {
    sink = await startOtlpSink();
    ports = { ours: await freePort(), http: await freePort(), grpc: await freePort() };
    ours = await startOurs();
    configs = splits
      ? [file("split.yaml")]
      : [file("yours.yaml"), await printed(`http://127.0.0.1:${ports.ours}`, queue)];
    otelcol = await startOfficial();
  });
  afterAll(async () => {
    await otelcol[Symbol.asyncDispose]();
    await ours[Symbol.asyncDispose]();
    await sink.close();
  });

  const startOurs = (): Promise<RunningCollector> =>
    startCollector({
      dataDir,
      config: file("../../test/apps/collector.yaml"),
      env: { TEST_DEBUG_BACKEND: sink.url, TEST_OTLP_PORT: String(ports.ours) },
    });
  const startOfficial = (): Promise<RunningProcess> =>
    startOtelcol({
      command: command!,
      configs,
      env: {
        OTLP_HTTP_PORT: String(ports.http),
        OTLP_GRPC_PORT: String(ports.grpc),
        OTEL_AUDIT_ENDPOINT: `http://127.0.0.1:${ports.ours}`,
        OTELCOL_QUEUE: queue,
        DEBUG_BACKEND: sink.url,
      },
      port: ports.http,
    });
  const overHttp = (): SpanExporter => new HttpExporter({ url: `http://127.0.0.1:${ports.http}/v1/traces` });
  const overGrpc = (): SpanExporter => new GrpcExporter({ url: `http://127.0.0.1:${ports.grpc}` });
  const stored = async (): Promise<string[]> => {
    const query = "SELECT RecordId FROM otel_audit.audit_events WHERE ActorId = 'tester' ORDER BY RecordId";
    return (await ours.sql<{ RecordId: string }>(query)).map(({ RecordId }) => RecordId);
  };
  const forwarded = (prefix = "debug "): string[] =>
    sink.spans
      .map(({ name }) => name)
      .filter((name) => name.startsWith(prefix))
      .toSorted();

  it("sends audit spans to otel-audit and all others to the backend", async () => {
    await act("http", overHttp());
    await act("grpc", overGrpc());
    await expect.poll(stored).toEqual(all(["http", "grpc"]));
    await expect.poll(() => forwarded()).toEqual(all(["http", "grpc"], "debug "));
  });

  it("keeps what it took while otel-audit is away, also over its own kill -9, and delivers each record once", async () => {
    await ours.process.kill("SIGKILL");
    await act("away", overHttp());
    await expect.poll(() => forwarded()).toEqual(all(["http", "grpc", "away"], "debug "));
    await otelcol.kill("SIGKILL");
    otelcol = await startOfficial();
    await act("restarted", overGrpc());
    await ours[Symbol.asyncDispose]();
    ours = await startOurs();
    const everything = ["http", "grpc", "away", "restarted"];
    await expect.poll(stored, { timeout: 60_000 }).toEqual(all(everything));
    await expect.poll(() => forwarded()).toEqual(all(everything, "debug "));
    // Beside a team's pipelines everything goes on as it did.
    await expect.poll(() => forwarded("audit ")).toEqual(splits ? [] : all(everything, "audit "));
  });
});
