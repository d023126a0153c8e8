import type { Endpoints } from "@otel-audit/collector";
import { Command } from "commander";
import { refuseUnderAudit } from "../audited.ts";
import { tell } from "../output/stdout.ts";
import { VERSION } from "../version.ts";
import { configOptions, load, printConfigCommand, validateCommand, type ConfigOptions } from "./collector-config.ts";
import { CollectorSignals } from "./collector-signals.ts";
import { directory, integer } from "./options.ts";

interface CollectorCommandOptions extends ConfigOptions {
  readonly data: string;
  readonly portOffset: number;
}

/** The highest port of the built-in configuration, 13133, stays below 65536. */
const MAX_PORT_OFFSET = 52_000;

const HELP = `
Without --config it listens on 127.0.0.1 only: OTLP/gRPC 4317, OTLP/HTTP 4318, SQL 8123, metrics 8888, health
13133. SIGINT or SIGTERM ends it: what was acknowledged is written first. A second one ends it at once; nothing is lost,
the next start goes on.

Examples:
  otel-audit collector
  otel-audit collector --data /var/lib/otel-audit --port-offset 1000
  otel-audit collector print-config > collector.yaml
  otel-audit collector validate --config collector.yaml
  otel-audit collector --config collector.yaml --config production.yaml --set exporters.otlphttp.timeout=5s`;

export function collectorCommand(): Command {
  return configOptions(new Command("collector"))
    .description("Receive OTLP, keep audit spans in a ledger and in ClickHouse, pass debug spans on")
    .enablePositionalOptions()
    .option("--data <dir>", "log, embedded database, keys", directory, "otel-audit-data")
    .option("--port-offset <n>", "added to every port", integer(0, MAX_PORT_OFFSET), 0)
    .addHelpText("after", HELP)
    .action((options: CollectorCommandOptions) => collector(options))
    .addCommand(validateCommand())
    .addCommand(printConfigCommand());
}

async function collector(options: CollectorCommandOptions): Promise<void> {
  refuseUnderAudit("collector");
  const { Collector } = await import("@otel-audit/collector");
  const { config } = await load(options);
  const signals = new CollectorSignals(process.stderr.isTTY);
  const running = await Collector.start(config, { dataDir: options.data, portOffset: options.portOffset });
  signals.log = running.log;
  // Logs are JSON for machines; a person gets the same in plain words.
  if (process.stderr.isTTY) tell(welcome(running.endpoints, options.data));
  const failure = await Promise.race([signals.stopped, running.failed]);
  await running.shutdown();
  if (failure) throw failure;
}

function welcome({ otlpGrpc, otlpHttp, sql, metrics, health }: Endpoints, dataDir: string): string {
  const lines = [
    `\notel-audit collector ${VERSION} is ready; Ctrl-C stops it`,
    otlpGrpc && `  OTLP/gRPC  ${otlpGrpc}`,
    otlpHttp && `  OTLP/HTTP  ${otlpHttp}/v1/traces`,
    sql && `  SQL        ${sql}`,
    metrics && `  metrics    ${metrics}/metrics`,
    health && `  health     ${health}`,
    `  data       ${dataDir}`,
  ];
  return `${lines.filter((line) => line !== undefined && line !== "").join("\n")}\n`;
}
