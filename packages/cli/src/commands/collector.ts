import { Collector, DEFAULT_CONFIG, parseConfig } from "@otel-audit/collector";
import { Command } from "commander";
import { readFile } from "node:fs/promises";
import { CliError } from "../errors.ts";
import { integer } from "./options.ts";

interface CollectorCommandOptions {
  readonly config?: string;
  readonly data: string;
  readonly portOffset: number;
  readonly printConfig?: true;
}

export function collectorCommand(): Command {
  return new Command("collector")
    .description("Receive OTLP, keep audit spans in a ledger and in ClickHouse, pass debug spans on")
    .option("--config <file>", "configuration in otelcol's YAML; default: built in, see --print-config")
    .option("--data <dir>", "log, embedded database, keys", "otel-audit-data")
    .option("--port-offset <n>", "added to every port", integer("--port-offset", 0, 60_000), 0)
    .option("--print-config", "print the built-in configuration and exit")
    .action((options: CollectorCommandOptions) => collector(options));
}

async function collector(options: CollectorCommandOptions): Promise<void> {
  if (options.printConfig) {
    process.stdout.write(DEFAULT_CONFIG);
    return;
  }
  const text = options.config === undefined ? DEFAULT_CONFIG : await readConfig(options.config);
  const config = parseConfig(text, { file: options.config ?? "built-in configuration" });
  const stopped = signalled();
  const running = await Collector.start(config, { dataDir: options.data, portOffset: options.portOffset });
  await stopped;
  await running.shutdown();
}

async function readConfig(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CliError("USAGE", `--config: cannot read "${file}": ${(error as Error).message}`, { cause: error });
  }
}

/** The first SIGINT or SIGTERM asks for a clean end; a second one ends at once. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
  });
}
