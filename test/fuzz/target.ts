import { readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startCollector, type RunningCollector } from "../support/index.ts";

/** What a process holds. */
export interface Holdings {
  readonly rssMiB: number;
  readonly sockets: number;
  readonly files: number;
  readonly threads: number;
}

interface TargetOptions {
  /** Where everything is kept. */
  readonly directory: string;
  readonly workers: number;
  /** Where debug spans go. */
  readonly debugUrl: string;
  /** More of a protocol's configuration, as YAML in one line: `, tls: { … }`. */
  readonly protocol?: string;
  /** More extensions, as YAML lines. */
  readonly extensions?: string;
  readonly receiver?: string;
}

/** The collector in a process of its own: its ClickHouse is away, so that the log keeps every row. */
export class Target implements AsyncDisposable {
  readonly collector: RunningCollector;
  readonly dataDir: string;

  static async start(options: TargetOptions): Promise<Target> {
    const config = join(options.directory, "collector.yaml");
    const dataDir = join(options.directory, "data");
    writeFileSync(config, configuration(options));
    return new Target(await startCollector({ dataDir, config }), dataDir);
  }

  private constructor(collector: RunningCollector, dataDir: string) {
    this.collector = collector;
    this.dataDir = dataDir;
  }

  get httpPort(): number {
    return Number(new URL(this.collector.endpoints.otlpHttp).port);
  }

  get grpcUrl(): string {
    return this.collector.endpoints.otlpGrpc!;
  }

  get holdings(): Holdings {
    const { pid } = this.collector.process;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const number = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)?.[1]);
    const open = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
    const sockets = open.filter((link) => link.startsWith("socket:")).length;
    // Files of the log come and go with the segments.
    const files = open.filter((link) => !link.startsWith("socket:") && !link.startsWith(this.dataDir)).length;
    return { rssMiB: Math.round(number("VmRSS") / 1024), sockets, files, threads: number("Threads") };
  }

  /** What its log says that no client should be able to cause. */
  get complaints(): string[] {
    const { stdout, stderr } = this.collector.process;
    // Its ClickHouse is away, and a mutation can make two records of one id.
    const expected = /segments wait on disk|"code":"CONFLICT"/;
    const bad = /requests are refused|were not taken|"level":[56]0/;
    return `${stdout}\n${stderr}`.split("\n").filter((line) => bad.test(line) && !expected.test(line));
  }

  /** Ends it in good order; throws when it did not end so. */
  async stop(): Promise<void> {
    const { code, signal } = await this.collector.process.kill("SIGTERM");
    if (code !== 0)
      throw new Error(`the collector ended with ${code ?? signal}: ${this.collector.process.stderr.slice(-2_000)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.collector[Symbol.asyncDispose]();
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function configuration({ workers, debugUrl, protocol = "", receiver = "", extensions = "" }: TargetOptions): string {
  const names = ["health_check", ...[...extensions.matchAll(/^ {2}(\w+):/gm)].map(([, name]) => name!)];
  const listens = `{ endpoint: "127.0.0.1:0"${protocol} }`;
  return `receivers: { otlp: { protocols: { http: ${listens}, grpc: ${listens} }${receiver} } }
connectors: { audit_router: { audit: [traces/audit], debug: [traces/debug] } }
processors: { audit: {} }
exporters:
  clickhouse_audit: { endpoint: "http://127.0.0.1:1", create_schema: false, segment: { max_age: 2s }, window: 200000, shutdown_timeout: 0s }
  otlphttp: { endpoint: "${debugUrl}", retry_on_failure: { initial_interval: 50ms } }
extensions:
  health_check: { endpoint: "127.0.0.1:0" }
${extensions}service:
  workers: ${workers}
  extensions: [${names.join(", ")}]
  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
    traces/debug: { receivers: [audit_router], exporters: [otlphttp] }
  telemetry: { logs: { level: warn }, metrics: { address: "127.0.0.1:0" } }
`;
}
