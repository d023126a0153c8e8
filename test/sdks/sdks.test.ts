// Clients of the official SDKs of other languages, against a running collector. They are prepared by `npm run test:sdks`,
// where their languages are.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findGoClient, findPython } from "../../scripts/sdks.ts";
import {
  freePort,
  startCollector,
  startOtlpSink,
  startProcess,
  tempDir,
  type OtlpSink,
  type RunningCollector,
} from "../support/index.ts";

const PROTOCOLS = ["http/protobuf", "grpc"] as const;
const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const AGENT = file("../../examples/python/agent.py");
const python = findPython();
const goClient = findGoClient();
for (const { reason } of [python, goClient].filter((client) => client.path === undefined)) {
  process.stderr.write(`test/sdks was NOT RUN in part: ${reason}\n`);
}

let sink: OtlpSink;
let collector: RunningCollector;
const dataDir = tempDir("sdks");
beforeAll(async () => {
  sink = await startOtlpSink();
  collector = await start(await freePort());
});
afterAll(async () => {
  await collector[Symbol.asyncDispose]();
  await sink.close();
});

function start(port: number): Promise<RunningCollector> {
  const env = { TEST_DEBUG_BACKEND: sink.url, TEST_OTLP_PORT: String(port) };
  return startCollector({ dataDir, config: file("../apps/collector.yaml"), env });
}

function environment(protocol: (typeof PROTOCOLS)[number]): Record<string, string> {
  const endpoint = protocol === "http/protobuf" ? collector.endpoints.otlpHttp : collector.endpoints.otlpGrpc;
  return { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint!, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
}

async function run(command: string, args: readonly string[], env: Record<string, string>): Promise<string> {
  await using client = await startProcess(command, args, { env });
  const { code } = await client.exited;
  if (code !== 0) throw new Error(`${command} ended with ${code}:\n${client.stderr}`);
  return client.stderr;
}

it("has clients, or says why not", () => {
  for (const { path, reason } of [python, goClient] as { path?: string; reason?: string }[]) {
    expect(path === undefined ? reason : existsSync(path)).toBeTruthy();
  }
});

describe.each(goClient.path === undefined ? [] : [goClient])("the Go SDK", ({ path }) => {
  it.each(PROTOCOLS.flatMap((protocol) => ["none", "gzip"].map((compression) => [protocol, compression] as const)))(
    "over %s, compression %s",
    async (protocol, compression) => {
      sink.clear();
      const prefix = `go-${protocol}-${compression}`;
      await run(path, [prefix], { ...environment(protocol), OTEL_EXPORTER_OTLP_COMPRESSION: compression });
      const query = `SELECT RecordId, ServiceName, ActorId, ActorChain, TargetId, Outcome, SpanName,
        SpanAttributes['file.size'] AS size, SpanAttributes['app.flag'] AS flag, ScopeName
        FROM otel_audit.audit_events WHERE startsWith(RecordId, '${prefix}') ORDER BY RecordId`;
      await expect
        .poll(() => collector.sql(query))
        .toEqual(
          [0, 1, 2].map((i) => ({
            RecordId: `${prefix}-${i}`,
            ServiceName: "go-client",
            ActorId: "agent:go",
            ActorChain: ["agent:planner", "agent:support"],
            TargetId: "file:///srv/kb/faq.md",
            Outcome: "success",
            SpanName: "file.read",
            size: "1024",
            flag: "true",
            ScopeName: "go-client",
          })),
        );
      await sink.waitForSpans(3);
      expect(sink.spans.map(({ name }) => name).toSorted()).toEqual(["debug 0", "debug 1", "debug 2"]);
    },
  );
});

describe.each(python.path === undefined ? [] : [python])("the Python SDK, with examples/python", ({ path }) => {
  it.each(PROTOCOLS)("over %s: what the sampler drops is audited, and dropped for the backend", async (protocol) => {
    const folder = tempDir("python");
    const env = { ...environment(protocol), OTEL_AUDIT_AGENT_ID: `agent:${protocol}`, SAMPLE_RATIO: "0" };
    sink.clear();
    await run(path, [AGENT, folder], env);
    await expect.poll(() => records(`agent:${protocol}`)).toEqual(expected(folder));
    expect(sink.spans).toEqual([]);
  });

  it("passes the processor's own tests", async () => {
    const said = await run(path, [file("../../examples/python/test_audit_span_processor.py")], {});
    expect(said).toMatch(/^Ran 4 tests[\s\S]*^OK$/m);
  });

  it("stores a record once that a sampled trace brings as well", async () => {
    const folder = tempDir("python");
    const env = { ...environment("http/protobuf"), OTEL_AUDIT_AGENT_ID: "agent:sampled", SAMPLE_RATIO: "1" };
    sink.clear();
    await run(path, [AGENT, folder], env);
    await sink.waitForSpans(1);
    expect(sink.spans.map(({ name }) => name)).toEqual(["write the notes"]);
    await expect.poll(() => records("agent:sampled")).toEqual(expected(folder));
  });

  it("keeps trying while the collector is away", async () => {
    const folder = tempDir("python");
    const env = { ...environment("http/protobuf"), OTEL_AUDIT_AGENT_ID: "agent:patient", SAMPLE_RATIO: "0" };
    const { port } = new URL(collector.endpoints.otlpHttp);
    await collector[Symbol.asyncDispose]();
    const ended = run(path, [AGENT, folder], env);
    await Promise.race([ended, sleep(1_000)]);
    collector = await start(Number(port));
    await ended;
    await expect.poll(() => records("agent:patient")).toEqual(expected(folder));
  });
});

function records(actor: string): Promise<unknown[]> {
  return collector.sql(`SELECT Action, TargetId, Outcome, ErrorType, Origin, ServiceName FROM otel_audit.audit_events
    WHERE ActorId = '${actor}' ORDER BY Action`);
}

/** What agent.py does in a folder. */
function expected(folder: string): unknown[] {
  const all = { Origin: "reported", ServiceName: "notes" };
  return [
    { Action: "CREATE", TargetId: `file://${folder}/note.md`, Outcome: "success", ErrorType: "", ...all },
    {
      Action: "READ",
      TargetId: `file://${folder}/missing.md`,
      Outcome: "failure",
      ErrorType: "FileNotFoundError",
      ...all,
    },
  ];
}
