import { readFileSync, writeFileSync } from "node:fs";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { DEFAULT_CONFIG } from "@otel-audit/collector";
import { freePort, otelAudit, startProcess, type RunningProcess } from "../support/index.ts";
import type { DatabaseProxy } from "./database-proxy.ts";

/** Whether the collector that is built here speaks OTLP/gRPC. */
const HAS_GRPC = /^ +grpc:/m.test(DEFAULT_CONFIG);

/** A process that is started again whenever it ends, as systemd would. */
class Supervised {
  readonly #start: () => Promise<RunningProcess>;
  readonly #isReady: (running: RunningProcess) => boolean;
  readonly #ended: (running: RunningProcess, ready: boolean, asked: boolean) => void;
  #running: RunningProcess | undefined;
  #ready = false;
  #asked = false;
  #wanted = false;
  #loop: Promise<void> | undefined;

  constructor(
    start: () => Promise<RunningProcess>,
    isReady: (running: RunningProcess) => boolean,
    ended: (running: RunningProcess, ready: boolean, asked: boolean) => void,
  ) {
    this.#start = start;
    this.#isReady = isReady;
    this.#ended = ended;
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Starts it and keeps it running. */
  up(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    const before = this.#loop;
    this.#loop = (async () => {
      await before;
      while (this.#wanted) await this.#live();
    })();
  }

  async untilReady(timeoutMs = 90_000): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    while (!this.#ready && performance.now() < until) await sleep(20);
    return this.#ready;
  }

  /** Ends it and leaves it down. With SIGTERM, SIGKILL after `patienceMs`. */
  async down(signal: "SIGKILL" | "SIGTERM", patienceMs = 60_000): Promise<void> {
    this.#wanted = false;
    this.#asked = true;
    this.#ready = false;
    this.signal(signal);
    const late = setTimeout(() => this.signal("SIGKILL"), patienceMs);
    await this.#loop;
    clearTimeout(late);
  }

  signal(signal: NodeJS.Signals): void {
    const { pid } = this;
    if (pid !== undefined) kill(pid, signal);
  }

  async #live(): Promise<void> {
    this.#asked = false;
    const running = await this.#start();
    this.#running = running;
    const poll = setInterval(() => {
      this.#ready ||= this.#wanted && this.#isReady(running);
    }, 20);
    const { code } = await running.exited;
    clearInterval(poll);
    this.#ended(running, this.#ready, this.#asked || code === null);
    this.#ready = false;
    this.#running = undefined;
    await running[Symbol.asyncDispose]();
    if (this.#wanted) await sleep(100);
  }
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone already.
  }
}

/** A line of the ledger's about something that should not be. */
interface Alarm {
  readonly code: string;
  readonly message: string;
}

interface CollectorState {
  readonly pid?: number;
  readonly endpoints?: unknown;
}

interface ServiceOptions {
  readonly directory: string;
  readonly dataDir: string;
  readonly workers: number;
  /** Of the collector: the shim. */
  readonly env: Readonly<Record<string, string>>;
  /** The way to the database; undefined: the engine in the collector. */
  readonly proxy: DatabaseProxy | undefined;
}

/** The collector, and the database where that is a process of its own. */
export class Service {
  readonly collector: Supervised;
  readonly #database: Supervised | undefined;
  readonly #options: ServiceOptions;
  readonly alarms: Alarm[] = [];
  /** The collector ended by itself after it was ready. */
  readonly crashes: string[] = [];
  /** It did not come up: on a full disk it cannot. */
  failedStarts = 0;
  starts = 0;
  /** It started without having seen the table: its window knows only what is in the log. */
  blindStarts = 0;
  readonly httpPort: number;
  readonly #grpcPort: number;
  readonly #sqlPort: number;
  readonly #config: string;
  readonly #logFile: string;
  #databasePid: number | undefined;

  static async create(options: ServiceOptions): Promise<Service> {
    return new Service(options, await freePort(), await freePort(), await freePort());
  }

  private constructor(options: ServiceOptions, httpPort: number, grpcPort: number, sqlPort: number) {
    this.#options = options;
    this.httpPort = httpPort;
    this.#grpcPort = grpcPort;
    this.#sqlPort = sqlPort;
    this.#config = join(options.directory, "collector.yaml");
    this.#logFile = join(options.directory, "collector.log");
    writeFileSync(this.#config, this.#configuration());
    this.collector = new Supervised(
      () => this.#startCollector(),
      (running) => this.#isCollectorReady(running),
      (running, ready, asked) => this.#collectorEnded(running, ready, asked),
    );
    if (options.proxy !== undefined) this.#database = this.#supervisedDatabase(options.proxy);
  }

  /** Undefined as long as the collector has no gRPC. */
  get grpcPort(): number | undefined {
    return HAS_GRPC ? this.#grpcPort : undefined;
  }

  /** Where SELECTs go, past the proxy. */
  get sqlUrl(): string {
    return `http://127.0.0.1:${this.#sqlPort}`;
  }

  async start(): Promise<void> {
    this.#database?.up();
    if (this.#database !== undefined && !(await this.#database.untilReady())) throw new Error("no database");
    this.collector.up();
    if (!(await this.collector.untilReady())) {
      throw new Error(`the collector did not start; see ${this.#logFile}`);
    }
  }

  /** Process id of the engine: the database, or the collector's child. */
  enginePid(): number | undefined {
    if (this.#database !== undefined) return this.#databasePid;
    const { pid } = this.collector;
    if (pid === undefined) return undefined;
    try {
      const child = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(/\s/)[0]);
      return child > 0 ? child : undefined;
    } catch {
      return undefined;
    }
  }

  async stop(): Promise<void> {
    await this.collector.down("SIGTERM");
    await this.#database?.down("SIGTERM");
  }

  #startCollector(): Promise<RunningProcess> {
    this.starts++;
    const args = [otelAudit, "collector", "--config", this.#config, "--data", this.#options.dataDir];
    return startProcess(process.execPath, args, { env: { NODE_OPTIONS: undefined, ...this.#options.env } });
  }

  #isCollectorReady(running: RunningProcess): boolean {
    const state = this.#state();
    return state?.pid === running.pid && state.endpoints !== undefined;
  }

  #state(): CollectorState | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#options.dataDir, "collector.json"), "utf8")) as CollectorState;
    } catch {
      return undefined;
    }
  }

  #collectorEnded(running: RunningProcess, ready: boolean, asked: boolean): void {
    void appendFile(this.#logFile, `${running.stdout}${running.stderr}--- ended, ready ${ready}, asked ${asked}\n`);
    if (!asked && ready) this.crashes.push(running.stderr.slice(-500));
    if (!asked && !ready) this.failedStarts++;
    if (running.stderr.includes("ClickHouse does not answer yet")) this.blindStarts++;
    for (const line of running.stderr.split("\n")) {
      if (!line.includes('"alarm":')) continue;
      const { alarm } = JSON.parse(line) as { alarm: Alarm };
      this.alarms.push(alarm);
    }
  }

  #supervisedDatabase(proxy: DatabaseProxy): Supervised {
    const script = fileURLToPath(new URL("engine.ts", import.meta.url));
    const dataDir = join(this.#options.directory, "database");
    return new Supervised(
      () =>
        startProcess(process.execPath, [script, dataDir, String(this.#sqlPort)], { env: { NODE_OPTIONS: undefined } }),
      (running) => {
        const line = running.stdout.split("\n")[0] ?? "";
        if (!line.endsWith("}")) return false;
        const { pid, username, password } = JSON.parse(line) as { pid: number; username: string; password: string };
        this.#databasePid = pid;
        const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
        proxy.target = { port: this.#sqlPort, authorization };
        return true;
      },
      () => {
        this.#databasePid = undefined;
        proxy.target = undefined;
      },
    );
  }

  #configuration(): string {
    const { proxy, workers } = this.#options;
    const destination =
      proxy === undefined
        ? "engine: clickhouse_embedded"
        : `endpoint: "${proxy.url}", username: writer, password: of-the-proxy, create_schema: false`;
    const engine = proxy === undefined ? `  clickhouse_embedded: { endpoint: "127.0.0.1:${this.#sqlPort}" }\n` : "";
    const grpc = HAS_GRPC ? `, grpc: { endpoint: "127.0.0.1:${this.#grpcPort}" }` : "";
    return `receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:${this.httpPort}" }${grpc} } } }
connectors: { audit_router: { audit: [traces/audit], debug: [traces/debug] } }
processors: { audit: {} }
exporters:
  clickhouse_audit: { ${destination}, segment: { max_age: 150 }, shutdown_timeout: 3000 }
  otlphttp: { endpoint: "http://127.0.0.1:1" }
extensions:
  health_check: { endpoint: "127.0.0.1:0" }
${engine}service:
  extensions: [health_check${proxy === undefined ? ", clickhouse_embedded" : ""}]
${workers > 1 ? `  workers: ${workers}\n` : ""}  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
    traces/debug: { receivers: [audit_router], exporters: [otlphttp] }
  telemetry: { logs: { level: warn }, metrics: { address: "127.0.0.1:0" } }
`;
  }
}
