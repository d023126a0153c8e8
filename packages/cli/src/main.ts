import { Command, CommanderError } from "commander";
import { collectorCommand } from "./commands/collector.ts";
import { policyCommand } from "./commands/policy.ts";
import { queryCommand } from "./commands/query.ts";
import { runCommand } from "./commands/run.ts";
import { schemaCommand } from "./commands/schema.ts";
import { ExitCode, describeError } from "./errors.ts";
import { VERSION } from "./version.ts";

const program = new Command("otel-audit")
  .description("Flight recorder for AI agents: what an agent did, on OpenTelemetry and ClickHouse")
  .version(VERSION)
  .configureHelp({ sortSubcommands: false, showGlobalOptions: true })
  .showHelpAfterError("(run with --help for what is accepted)")
  .exitOverride()
  .addCommand(runCommand())
  .addCommand(collectorCommand())
  .addCommand(queryCommand())
  .addCommand(policyCommand())
  .addCommand(schemaCommand());

for (const command of program.commands) inheritExitOverride(command);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong; `--help` and `--version` end with 0.
    process.exitCode = error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
  } else {
    process.stderr.write(`otel-audit: ${describeError(error)}\n`);
    process.exitCode = ExitCode.Usage;
  }
}

/** Subcommands that are added ready-made do not inherit the settings of their parent. */
function inheritExitOverride(command: Command): void {
  command.copyInheritedSettings(program);
  for (const sub of command.commands) inheritExitOverride(sub);
}
