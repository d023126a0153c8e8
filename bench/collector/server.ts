// The process that bench/collector.ts measures: a collector, or its peer of objects. Talks to the load over IPC.
import { Collector, parseConfig } from "@otel-audit/collector";
import { mkdtempSync, rmSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startObjects } from "./objects.ts";
import { stagesOf } from "./stages.ts";
import { cpuByThread } from "./threads.ts";

export type Command = "begin" | "begin with profile" | "end" | "stop";

export interface Message {
  /** With the first message: where the collector listens. */
  readonly url?: string;
  /** The answer to "end". */
  readonly report?: Report;
}

export interface Report {
  /** CPU of all threads of the process. */
  readonly userMicros: number;
  readonly systemMicros: number;
  /** Of that, by stage of the main thread and by kind of the others; empty without profile. */
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
let profiling = false;
let before = process.cpuUsage();
let threadsBefore = cpuByThread();

async function startCollector(): Promise<{ url: string; drain: () => Promise<unknown>; stop: () => Promise<void> }> {
  const collector = await Collector.start(parseConfig(CONFIG(backend!)), { dataDir });
  return { url: collector.endpoints.otlpHttp!, drain: () => collector.drain(), stop: () => collector.shutdown() };
}

function answer(message: Message): void {
  process.send!(message);
}

async function handle(command: Command): Promise<void> {
  if (command === "begin" || command === "begin with profile") {
    await drain();
    profiling = command === "begin with profile";
    if (profiling) {
      await session.post("Profiler.enable");
      await session.post("Profiler.start");
    }
    threadsBefore = cpuByThread();
    before = process.cpuUsage();
    answer({});
  } else if (command === "end") {
    // What was acknowledged but not yet inserted and forwarded belongs to the figure.
    await drain();
    const { user: userMicros, system: systemMicros } = process.cpuUsage(before);
    const stages = profiling ? stagesOf((await session.post("Profiler.stop")).profile, cpuByThread(threadsBefore)) : {};
    answer({ report: { userMicros, systemMicros, stages } });
  } else {
    await stop();
    rmSync(dataDir, { recursive: true, force: true });
    process.exit(0);
  }
}

process.on("message", (command: Command) => void handle(command));
answer({ url });
