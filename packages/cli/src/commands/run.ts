import type { Collector } from "@otel-audit/collector";
import type { LearnedPolicy } from "@otel-audit/policy/learn";
import { Command, Option } from "commander";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CliError, ExitCode, describeError, describeSystemError } from "../errors.ts";
import { learnedLine } from "../output/learned.ts";
import { paint, print, tell } from "../output/stdout.ts";
import { summaryLines } from "../output/summary.ts";
import { printable, safeJson } from "../output/text.ts";
import { learnFrom } from "../records/learn.ts";
import { groupsQuery, recordsQuery, type ActionGroup, type AuditRow } from "../records/query.ts";
import { summarize, type Summary } from "../records/summary.ts";
import { NOT_FOUND, Signals, type ChildEnd } from "../run/child.ts";
import { agentName, auditEnvironment } from "../run/environment.ts";
import { shipLeftovers, type Leftovers } from "../run/leftovers.ts";
import { checkNewFile, readPolicy, writePolicy } from "../run/policy-file.ts";
import { directory } from "./options.ts";

interface RunOptions {
  readonly policy?: string;
  readonly mode?: "observe" | "enforce";
  readonly agent?: string;
  readonly keep?: string;
  readonly learn?: string;
  readonly json?: true;
}

/** Different actions that a summary looks at, and records that `--json` prints; a run with more says so. */
const MAX_GROUPS = 100_000;
const MAX_RECORDS = 100_000;
/** Milliseconds that the records may take from the collector's log into the table. */
const DRAIN_TIMEOUT_MS = 60_000;

/** A collector for one run: free ports, the embedded engine, no metrics and no health check. */
const CONFIG = `
receivers: { otlp: { protocols: { http: { endpoint: "127.0.0.1:0" } } } }
connectors: { audit_router: { audit: [traces/audit] } }
processors: { audit: {} }
exporters: { clickhouse_audit: { engine: clickhouse_embedded, segment: { max_age: 200 } } }
extensions: { clickhouse_embedded: { endpoint: "127.0.0.1:0" } }
service:
  extensions: [clickhouse_embedded]
  pipelines:
    traces: { receivers: [otlp], processors: [audit], exporters: [audit_router] }
    traces/audit: { receivers: [audit_router], exporters: [clickhouse_audit] }
  telemetry: { logs: { level: warn } }
`;

const HELP = `
Every Node process that the command starts is audited (through NODE_OPTIONS); other programs only where a Node process
starts them. The summary goes to stderr. With --json it goes to stdout, and what the command prints there to stderr.
The variables OTEL_AUDIT_* of the instrumentation work here too (OTEL_AUDIT_ON_BEHALF_OF, OTEL_AUDIT_WORKFLOW_NAME).
The records go to a collector of this run alone, on free ports; one that runs already is left in peace.

--learn writes the least-privilege policy that would have allowed what was seen (\`otel-audit policy learn --help\` says
how). The file must not be there yet. It only observes until you write \`mode: enforce\` in it.

Exit code: the command's own; 128 and the signal's number when a signal ended it; 126 or 127 when it cannot be run;
2 when the audit itself did not work.

Examples:
  otel-audit run -- node agent.js
  otel-audit run --policy support.yaml --mode enforce -- npx some-agent "refund order 1001"
  otel-audit run --learn policy.yaml -- node agent.js
  otel-audit run --keep ./otel-audit-data -- npm start
  otel-audit run --json -- node agent.js > touched.json`;

export function runCommand(): Command {
  return new Command("run")
    .description("Run a command and show what it really touched")
    .usage("[options] -- <command> [args...]")
    .option("--policy <file>", "judge every action by this policy")
    .addOption(new Option("--mode <mode>", "instead of the policy's own").choices(["observe", "enforce"]))
    .option("--agent <id>", "agent id of the command; default: its name")
    .option(
      "--keep <dir>",
      "keep the records in this data directory; default: a temporary one, removed at the end",
      directory,
    )
    .option("--learn <file>", "write the policy that would have allowed what was seen to this new file")
    .option("--json", "summary and records as JSON on stdout")
    .argument("<command>", "what to run")
    .argument("[args...]", "its arguments")
    .addHelpText("after", HELP)
    .passThroughOptions()
    .action(async (command: string, args: string[], options: RunOptions) => {
      process.exitCode = await run([command, ...args], options);
    });
}

async function run(command: readonly string[], options: RunOptions): Promise<number> {
  if (options.policy !== undefined) await readPolicy("--policy", options.policy);
  const policy = options.policy === undefined ? undefined : resolve(options.policy);
  if (options.learn !== undefined) await checkNewFile("--learn", options.learn);
  await checkEngine();
  const signals = new Signals();
  const dataDir = resolve(options.keep ?? (await mkdtemp(join(tmpdir(), "otel-audit-run-"))));
  try {
    const collector = await startCollector(dataDir, options.keep);
    try {
      return await runAudited(command, { ...options, policy }, collector, dataDir, signals);
    } finally {
      await collector.shutdown();
    }
  } finally {
    if (options.keep === undefined) await rm(dataDir, { recursive: true, force: true, maxRetries: 3 });
    signals.close();
  }
}

async function startCollector(dataDir: string, keep: string | undefined): Promise<Collector> {
  const { Collector, parseConfig } = await import("@otel-audit/collector");
  try {
    return await Collector.start(parseConfig(CONFIG), { dataDir });
  } catch (cause) {
    const what = keep === undefined ? "cannot start a collector" : `--keep: cannot use "${keep}"`;
    throw new CliError("FAILED", `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

interface CheckedOptions extends Omit<RunOptions, "policy"> {
  /** Absolute path. */
  readonly policy: string | undefined;
}

async function runAudited(
  command: readonly string[],
  options: CheckedOptions,
  collector: Collector,
  dataDir: string,
  signals: Signals,
): Promise<number> {
  const [program = "", ...args] = command;
  const audit: Leftovers = {
    endpoint: collector.endpoints.otlpHttp!,
    spoolDir: join(dataDir, "spool"),
  };
  const environment = auditEnvironment(process.env, {
    ...audit,
    dataDir,
    register: import.meta.resolve("@otel-audit/instrumentation-node/register"),
    agent: options.agent ?? process.env.OTEL_AUDIT_AGENT_ID ?? agentName(program, args),
    policy: options.policy,
    mode: options.mode,
  });
  // What an earlier run that was killed left behind is kept, but is not part of this one.
  await shipLeftovers(audit);
  if (signals.exitCode !== undefined) return signals.exitCode;
  const started = new Date();
  const end = await signals.run(program, args, environment, options.json ? 2 : "inherit");
  if (end.error) {
    tell(
      `otel-audit: cannot run "${printable(program)}": ${end.exitCode === NOT_FOUND ? "no such command" : describeSystemError(end.error)}`,
    );
    return end.exitCode;
  }
  try {
    const finished = gather(collector, audit);
    await Promise.race([finished, signals.interrupted()]);
    if (signals.exitCode !== undefined) return signals.exitCode;
    await report({ command, started, end, dataDir, isComplete: await finished }, collector, options);
    return end.exitCode;
  } catch (error) {
    tell(
      `otel-audit: the command has ended with ${end.exitCode}, but its records cannot be shown: ${describeError(error)}`,
    );
    return end.exitCode || ExitCode.Usage;
  }
}

/** Brings all records into the table; false when some are not there in time. */
async function gather(collector: Collector, audit: Leftovers): Promise<boolean> {
  // A process that called process.exit, or was killed, leaves what it had not sent yet.
  const isShipped = await shipLeftovers(audit);
  return (await collector.drain(DRAIN_TIMEOUT_MS)) && isShipped;
}

interface FinishedRun {
  readonly command: readonly string[];
  readonly started: Date;
  readonly end: ChildEnd;
  readonly dataDir: string;
  readonly isComplete: boolean;
}

async function report(run: FinishedRun, collector: Collector, options: CheckedOptions): Promise<void> {
  const { RecordSource } = await import("../records/source.ts");
  const source = await RecordSource.open({ url: collector.endpoints.sql! });
  // The collector's clock and not the command's, which may say what it likes.
  const filter = { receivedFrom: run.started.toISOString() };
  try {
    const groups = await Array.fromAsync(source.rows<ActionGroup>(groupsQuery(filter, MAX_GROUPS)));
    const summary = summarize(groups);
    const isWhole = run.isComplete && groups.length < MAX_GROUPS;
    const learned = options.learn === undefined ? undefined : await learnFrom(source, filter);
    const isLearned = learned !== undefined && options.learn !== undefined && learned.records > 0;
    if (isLearned) await writePolicy("--learn", options.learn, learned.text);
    if (options.json) {
      const records = await Array.fromAsync(source.rows<AuditRow>(recordsQuery(filter, MAX_RECORDS)));
      await print(
        `${safeJson({ ...facts(run, options), complete: isWhole && records.length < MAX_RECORDS, summary, ...(isLearned && { learned: learnedFacts(options.learn, learned) }), records }, 2)}\n`,
      );
    } else {
      for (const line of reportLines(run, summary, options)) tell(line);
    }
    if (learned !== undefined) for (const line of learnedLines(learned, options.learn ?? "")) tell(line);
    if (!isWhole)
      tell("otel-audit: this is not everything: some records are not in the table yet, or there are too many");
  } finally {
    await source.close();
  }
}

function learnedFacts(file: string, { records, policy, unlearned }: LearnedPolicy): object {
  return { file, rules: policy.ruleIds, records, unlearned };
}

function learnedLines(learned: LearnedPolicy, file: string): string[] {
  if (learned.records === 0)
    return [`otel-audit: nothing was learned, ${printable(file)} is not written: no action was seen that ran`];
  return [
    `otel-audit: ${learnedLine(learned, file)}`,
    `  It only observes. Next: otel-audit run --policy ${printable(file)} -- …, then \`mode: enforce\` in it.`,
  ];
}

function facts({ command, started, end }: FinishedRun, { keep }: CheckedOptions): object {
  return {
    command,
    exitCode: end.exitCode,
    started: started.toISOString(),
    durationMs: Date.now() - started.getTime(),
    data: keep ?? null,
  };
}

function reportLines({ command, started, end }: FinishedRun, summary: Summary, { keep }: CheckedOptions): string[] {
  const seconds = ((Date.now() - started.getTime()) / 1000).toFixed(1);
  const actions = `${summary.actions} ${summary.actions === 1 ? "action" : "actions"}`;
  const head = `otel-audit: ${printable(command.join(" "))} ended with ${end.exitCode} after ${seconds} s; ${actions}`;
  const hint = [
    "  The audit did not start in this command: is it a Node program? Only Node processes can be audited.",
    "  An Electron program, or one that clears NODE_OPTIONS, needs --import @otel-audit/instrumentation-node/register.",
  ];
  const last =
    keep === undefined
      ? "  The records are gone now; --keep DIR keeps them for otel-audit query."
      : `  Every record: otel-audit query --data ${printable(keep)}`;
  return [
    "",
    paint(process.stderr, "bold", head),
    ...summaryLines(summary),
    "",
    ...(summary.processes === 0 ? hint : []),
    last,
  ];
}

async function checkEngine(): Promise<void> {
  const { isEmbeddedAvailable } = await import("@otel-audit/exporter-clickhouse");
  const availability = isEmbeddedAvailable();
  if (!availability.available)
    throw new CliError("FAILED", `\`run\` needs the embedded engine: ${availability.reason}`);
}
