// The process that bench/collector.ts measures: a collector, or its peer of objects. Talks to the load over IPC.
import { Collector, parseConfig } from "@otel-audit/collector";
import { mkdtempSync, rmSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startObjects } from "./objects.ts";
import { stagesOf } from "./stages.ts";

export interface Ready {
  readonly url: string;
}

export interface Report {
  /** CPU of all threads of the process, user and system. */
  readonly cpuMicros: number;
  /** Of that, by stage. */
  readonly stages: Readonly<Record<string, number>>;
}

const CONFIG = (backend: string): string => `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
connectors: { audit_router: { audit: [traces/audit], debug: [traces/debug] } }
processors: { audit: {} }
exporters:
  clickhouse_audit: { engine: clickhouse_embedded }
  otlphttp: { endpoint: "${backend}" }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" } }
service:
  extensions: [clickhouse_embedded]
  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
    traces/debug: { receivers: [audit_router], exporters: [otlphttp] }
  telemetry: { logs: { level: warn } }
`;

const [kind, backend] = process.argv.slice(2);
const dataDir = mkdtempSync(join(tmpdir(), "otel-audit-bench-"));
const { url, drain, stop } = kind === "collector" ? await startCollector() : await startObjects(dataDir, backend!);
const session = new Session();
session.connect();
await session.post("Profiler.enable");
let before = process.cpuUsage();

async function startCollector(): Promise<{ url: string; drain: () => Promise<unknown>; stop: () => Promise<void> }> {
  const collector = await Collector.start(parseConfig(CONFIG(backend!)), { dataDir });
  return { url: collector.endpoints.otlpHttp!, drain: () => collector.drain(), stop: () => collector.shutdown() };
}

async function handle(message: unknown): Promise<void> {
  if (message === "begin") {
    await drain();
    await session.post("Profiler.start");
    before = process.cpuUsage();
    process.send!("begun");
  } else if (message === "end") {
    // What was acknowledged but not yet inserted and forwarded belongs to the figure.
    await drain();
    const { user, system } = process.cpuUsage(before);
    const { profile } = await session.post("Profiler.stop");
    const cpuMicros = user + system;
    process.send!({ cpuMicros, stages: stagesOf(profile, cpuMicros) } satisfies Report);
  } else {
    await stop();
    rmSync(dataDir, { recursive: true, force: true });
    process.exit(0);
  }
}

process.on("message", (message) => void handle(message));
process.send!({ url } satisfies Ready);
