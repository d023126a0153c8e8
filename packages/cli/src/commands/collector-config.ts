import type { LoadedConfig } from "@otel-audit/collector";
import { Command, InvalidArgumentError, Option } from "commander";
import { tell, print } from "../output/stdout.ts";
import { printableLines } from "../output/text.ts";

/** `--config` and `--set`, which may be repeated. */
export interface ConfigOptions {
  readonly config?: readonly string[];
  readonly set?: readonly string[];
}

const collect = (value: string, before: readonly string[] | undefined): string[] => [...(before ?? []), value];

export function configOptions(command: Command): Command {
  return command
    .option(
      "--config <file>",
      "otelcol's YAML; may be repeated, the later one wins (also file:, env:NAME, yaml:a::b: value); default: built in",
      collect,
    )
    .option("--set <key=value>", "one setting, after all files: exporters.otlphttp.timeout=5s", collect);
}

/** Loads what was given, and tells what is probably not meant. */
export async function load({ config = [], set = [] }: ConfigOptions): Promise<LoadedConfig> {
  const { loadConfig } = await import("@otel-audit/collector");
  const loaded = await loadConfig(config, { set });
  for (const warning of loaded.warnings) tell(`otel-audit: ${printableLines(warning)}`);
  return loaded;
}

/** What a subcommand was given, after what stood before its name: `collector --config a.yaml validate`. */
function sources(command: Command): Required<ConfigOptions> {
  const before = command.parent?.opts<ConfigOptions>();
  const own = command.opts<ConfigOptions>();
  return {
    config: [...(before?.config ?? []), ...(own.config ?? [])],
    set: [...(before?.set ?? []), ...(own.set ?? [])],
  };
}

export function validateCommand(): Command {
  return configOptions(new Command("validate"))
    .description("Check a configuration without starting anything; 0 right, 2 wrong, with the YAML path")
    .addHelpText("after", "\nExample:\n  otel-audit collector validate --config collector.yaml")
    .action(async (_options: ConfigOptions, command: Command) => void (await load(sources(command))));
}

interface PrintConfigOptions extends ConfigOptions {
  readonly for?: "otelcol";
  readonly endpoint?: string;
  readonly tokenEnv?: string;
  readonly storage?: string;
}

const PRINT_HELP = `
With --config or --set: the configuration as it works, merged and with every default; secrets are [REDACTED]. Without: the
one that is built in. With --for otelcol: what an OpenTelemetry Collector needs to pass audit spans on to this one.

Examples:
  otel-audit print-config > collector.yaml
  otel-audit print-config --config collector.yaml
  otel-audit print-config --for otelcol --endpoint https://audit.internal:4318 --token-env OTEL_AUDIT_TOKEN`;

export function printConfigCommand(): Command {
  return configOptions(new Command("print-config"))
    .description("Print a configuration: the effective one, the one that is built in, or what an otelcol needs")
    .addOption(new Option("--for <program>", "print what it needs to pass audit spans on").choices(["otelcol"]))
    .option("--endpoint <url>", "with --for: base URL of this collector (http://127.0.0.1:4318)", httpUrl)
    .option("--token-env <name>", "with --for: variable of the otelcol that holds its token", variable)
    .option("--storage <dir>", "with --for: directory of the otelcol's queue (/var/lib/otelcol/otel_audit)")
    .addHelpText("after", PRINT_HELP)
    .action(async (options: PrintConfigOptions, command: Command) => {
      await print(await configText(options, command));
    });
}

async function configText(options: PrintConfigOptions, command: Command): Promise<string> {
  const { DEFAULT_CONFIG, effectiveConfig, otelcolSnippet } = await import("@otel-audit/collector");
  if (options.for === "otelcol") return otelcolSnippet(options);
  if ((options.endpoint ?? options.tokenEnv ?? options.storage) !== undefined)
    command.error("error: --endpoint, --token-env and --storage need --for otelcol");
  const { config, set } = sources(command);
  if (config.length + set.length === 0) return DEFAULT_CONFIG;
  return effectiveConfig((await load({ config, set })).document);
}

function httpUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new InvalidArgumentError("It must be a URL with http or https.");
  return text;
}

function variable(text: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text)) throw new InvalidArgumentError("It must be the name of a variable.");
  return text;
}
