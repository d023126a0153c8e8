import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  startCollector,
  startOtlpSink,
  startProcess,
  tempDir,
  type OtlpSink,
  type RunningCollector,
  type RunningProcess,
} from "../support/index.ts";

const CONFIG = fileURLToPath(new URL("collector.yaml", import.meta.url));
const REGISTER = new URL("../../packages/instrumentation-node/dist/register.js", import.meta.url).href;

/** The way of the records, as it is in use: a collector in a process of its own, debug spans to a real OTLP backend. */
export interface Trail extends AsyncDisposable {
  readonly dataDir: string;
  readonly spoolDir: string;
  readonly debug: OtlpSink;
  readonly collector: RunningCollector;
  /** Starts an application of this folder, under `--import register` unless `imports` says otherwise. */
  start(app: string, options: AppOptions): Promise<RunningProcess>;
  /** Runs it to its end, which has to be a good one, and gives what it said: the last line of stdout, as JSON. */
  run<Said>(app: string, options: AppOptions): Promise<Said>;
  /** What a service that came to its end did, oldest first, when all of it is in the table. */
  records(service: string): Promise<AuditRow[]>;
}

export interface AppOptions {
  /** `service.name`: by it the records of one run are told from those of others. */
  readonly service: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What comes before the application, instead of `register`: modules of this folder. */
  readonly imports?: readonly string[];
}

/** The columns of `audit_events` that tests look at. */
export interface AuditRow {
  readonly RecordId: string;
  readonly TraceId: string;
  readonly SpanId: string;
  readonly ParentSpanId: string;
  readonly ActorId: string;
  readonly EventName: string;
  readonly Action: string;
  readonly Outcome: string;
  readonly ErrorType: string;
  readonly TargetId: string;
  readonly ReadTargets: readonly string[];
  readonly WriteTargets: readonly string[];
  readonly PolicyDecision: string;
  readonly PolicyEnforcement: string;
  readonly PolicyId: string;
  readonly PolicyRule: string;
  readonly PolicyReason: string;
  readonly Blocked: boolean;
}

const COLUMNS =
  "RecordId, TraceId, SpanId, ParentSpanId, ActorId, EventName, Action, Outcome, ErrorType, TargetId, ReadTargets, WriteTargets, PolicyDecision, PolicyEnforcement, PolicyId, PolicyRule, PolicyReason, Blocked";

/** @param name a word for its directories */
export async function startTrail(name: string, env: Readonly<Record<string, string>> = {}): Promise<Trail> {
  const dataDir = tempDir(`${name}-data`);
  const spoolDir = tempDir(`${name}-spool`);
  const debug = await startOtlpSink();
  const collector = await startTrailCollector(dataDir, debug, env);
  const start = (app: string, options: AppOptions): Promise<RunningProcess> =>
    startApp(app, options, collector.endpoints.otlpHttp, spoolDir);
  return {
    dataDir,
    spoolDir,
    debug,
    collector,
    start,
    run: async <Said>(app: string, options: AppOptions): Promise<Said> => {
      await using process = await start(app, options);
      return await said<Said>(process);
    },
    records: (service) => recordsOf(collector, service),
    [Symbol.asyncDispose]: async () => {
      await collector[Symbol.asyncDispose]();
      await debug.close();
    },
  };
}

/** Starts a collector with this folder's configuration; `TEST_OTLP_PORT` fixes its port. */
export function startTrailCollector(
  dataDir: string,
  debug: OtlpSink,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningCollector> {
  return startCollector({ dataDir, config: CONFIG, env: { TEST_DEBUG_BACKEND: debug.url, ...env } });
}

/** Starts an application of this folder whose records go to `endpoint`. */
export function startApp(
  app: string,
  { service, env, imports }: AppOptions,
  endpoint: string,
  spoolDir: string,
): Promise<RunningProcess> {
  const before = (imports?.map((file) => new URL(file, import.meta.url).href) ?? [REGISTER]).flatMap((url) => [
    "--import",
    url,
  ]);
  // What the person who runs the tests has set must not decide them.
  const clean = Object.fromEntries(
    Object.keys(process.env)
      .filter((key) => key.startsWith("OTEL_"))
      .map((key) => [key, undefined]),
  );
  return startProcess(process.execPath, [...before, fileURLToPath(new URL(app, import.meta.url))], {
    env: {
      ...clean,
      NODE_OPTIONS: undefined,
      OTEL_SERVICE_NAME: service,
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_AUDIT_SPOOL_DIR: spoolDir,
      ...env,
    },
  });
}

async function said<Said>(process: RunningProcess): Promise<Said> {
  const { code } = await process.exited;
  if (code !== 0) throw new Error(`the application ended with ${code}:\n${process.stdout}\n${process.stderr}`);
  const answer: Said = JSON.parse(process.stdout.trimEnd().split("\n").at(-1) ?? "");
  return answer;
}

async function recordsOf(collector: RunningCollector, service: string): Promise<AuditRow[]> {
  // The summary is a process's last record, and segments go into the table in their order.
  const ended = `SELECT 1 FROM audit_events WHERE ServiceName = '${service}' AND EventName = 'process.summary'`;
  await until(`the end of ${service}`, async () => (await collector.sql(ended)).length > 0);
  return collector.sql<AuditRow>(
    `SELECT ${COLUMNS} FROM audit_events WHERE ServiceName = '${service}' AND ActorId != 'system:otel-audit' ORDER BY Timestamp, Sequence`,
  );
}

/** Waits for something that comes by itself; for hooks too, where `expect.poll` is not to be had. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await sleep(50);
  }
}

/** What a record says in one line: `agent:a READ file:///x success`. */
export function line(row: AuditRow): string {
  return [row.ActorId, row.Action, row.TargetId, row.Outcome, row.ErrorType].join(" ").trim();
}
