import { Collector, parseConfig } from "@otel-audit/collector";
import { shipSpool } from "@otel-audit/instrumentation-node";
import { Command } from "commander";
import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir, constants } from "node:os";
import { basename, extname, join, resolve } from "node:path";
import { CliError } from "../errors.ts";
import { recordsQuery, type AuditRow } from "../records/query.ts";
import { RecordSource } from "../records/source.ts";
import { describeSummary, summarize } from "../records/summary.ts";

interface RunOptions {
  readonly policy?: string;
  readonly mode?: "observe" | "enforce";
  readonly agent?: string;
  readonly keep?: string;
  readonly json?: true;
}

/** Records shown at most in a summary; a run with more says so. */
const MAX_RECORDS = 1_000_000;

/** A collector for one run: free ports, the embedded engine, no metrics and no health check. */
const RUN_CONFIG = `
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

export function runCommand(): Command {
  return new Command("run")
    .description("Run a command and show what it really touched")
    .usage("[options] -- <command> [args...]")
    .option("--policy <file>", "judge every action by this policy")
    .option("--mode <mode>", "observe or enforce, before what the policy says")
    .option("--agent <id>", "agent id of the command; default: its name")
    .option("--keep <dir>", "keep the records in this data directory; default: a temporary one")
    .option("--json", "print the summary and the records as JSON")
    .argument("<command>", "what to run")
    .argument("[args...]", "its arguments")
    .passThroughOptions()
    .action(async (command: string, args: string[], options: RunOptions) => {
      process.exitCode = await run(command, args, options);
    });
}

/** The exit code is the command's own. */
async function run(command: string, args: readonly string[], options: RunOptions): Promise<number> {
  const env = await auditEnvironment(command, args, options);
  const dataDir = options.keep === undefined ? await mkdtemp(join(tmpdir(), "otel-audit-run-")) : resolve(options.keep);
  const started = new Date();
  const collector = await Collector.start(parseConfig(RUN_CONFIG), { dataDir });
  try {
    const spool = join(dataDir, "spool");
    const endpoint = collector.endpoints.otlpHttp!;
    const exitCode = await execute(command, args, { ...env, OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_AUDIT_SPOOL_DIR: spool });
    // A process that ended by itself, or was killed, leaves what it had not sent yet.
    await shipSpool(spool, { endpoint });
    if (!(await collector.drain())) process.stderr.write("otel-audit: some records are not in the table yet\n");
    await report([command, ...args], started, exitCode, collector, options);
    return exitCode;
  } finally {
    await collector.shutdown();
    if (options.keep === undefined) await rm(dataDir, { recursive: true, force: true });
  }
}

async function auditEnvironment(command: string, args: readonly string[], options: RunOptions): Promise<Record<string, string>> {
  if (options.mode !== undefined && options.mode !== "observe" && options.mode !== "enforce") {
    throw new CliError("USAGE", `--mode: "${String(options.mode)}" is not one of observe, enforce`);
  }
  const register = import.meta.resolve("@otel-audit/instrumentation-node/register");
  const env: Record<string, string> = {
    NODE_OPTIONS: [process.env.NODE_OPTIONS, `--import=${register}`].filter(Boolean).join(" "),
  };
  if (options.policy !== undefined) {
    const file = resolve(options.policy);
    await stat(file).catch((error: unknown) => {
      throw new CliError("USAGE", `--policy: cannot read "${options.policy}": ${(error as Error).message}`);
    });
    env.OTEL_AUDIT_POLICY = file;
  }
  if (options.mode !== undefined) env.OTEL_AUDIT_MODE = options.mode;
  const agent = options.agent ?? process.env.OTEL_AUDIT_AGENT_ID ?? agentName(command, args);
  env.OTEL_AUDIT_AGENT_ID = agent;
  return env;
}

/** `node agent.js` is the agent `agent`; `npx some-agent` is `some-agent`. */
function agentName(command: string, args: readonly string[]): string {
  const launcher = ["node", "npx", "tsx", "npm"].includes(basename(command, extname(command)));
  const script = launcher ? args.find((arg) => !arg.startsWith("-")) : undefined;
  const name = basename(script ?? command);
  return name.slice(0, name.length - extname(name).length) || name;
}

async function execute(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn(command, args, { stdio: "inherit", env: { ...process.env, ...env } });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on("SIGTERM", forward);
  // The terminal sends SIGINT to the whole group: the command has it already; we wait for its end.
  const ignore = (): void => {};
  process.on("SIGINT", ignore);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", (error) => reject(new CliError("USAGE", `cannot run "${command}": ${error.message}`, { cause: error })));
      child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
    });
  } finally {
    process.off("SIGTERM", forward);
    process.off("SIGINT", ignore);
  }
}

async function report(command: readonly string[], started: Date, exitCode: number, collector: Collector, options: RunOptions): Promise<void> {
  const source = await RecordSource.open({ url: collector.endpoints.sql! });
  try {
    const rows = await source.rows<AuditRow>(recordsQuery({ from: started.toISOString() }, MAX_RECORDS));
    const summary = summarize(rows);
    if (options.json) {
      process.stdout.write(`${JSON.stringify({ command, exitCode, summary, records: rows }, undefined, 2)}\n`);
      return;
    }
    const seconds = ((Date.now() - started.getTime()) / 1000).toFixed(1);
    const what = `${summary.records} ${summary.records === 1 ? "action" : "actions"} recorded in ${seconds} s`;
    process.stderr.write(`\notel-audit: ${what}, exit code ${exitCode}\n${describeSummary(summary).join("\n")}\n\n`);
    process.stderr.write(
      options.keep === undefined
        ? "  The records are gone now; --keep DIR keeps them for otel-audit query.\n"
        : `  Every record: otel-audit query --data ${options.keep}\n`,
    );
  } finally {
    await source.close();
  }
}
