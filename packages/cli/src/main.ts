import { Command, CommanderError } from "commander";
import { collectorCommand } from "./commands/collector.ts";
import { printConfigCommand } from "./commands/collector-config.ts";
import { credentialCommand } from "./commands/credential.ts";
import { policyCommand } from "./commands/policy.ts";
import { queryCommand } from "./commands/query.ts";
import { runCommand } from "./commands/run.ts";
import { schemaCommand } from "./commands/schema.ts";
import { shipCommand } from "./commands/ship.ts";
import { ExitCode, describeError, isWrongUse } from "./errors.ts";
import { tell, toleratePipes } from "./output/stdout.ts";
import { VERSION } from "./version.ts";

const HELP = `
Exit code: 0 fine; 1 the answer is no (a policy has errors, records are left), or it did not work; 2 wrong use or configuration.
\`run\` ends with the exit code of its command.

Examples:
  otel-audit run -- node agent.js
  otel-audit collector
  otel-audit query --agent refunds --from 2h`;

const program = new Command("otel-audit")
  .description("Flight recorder for AI agents: what an agent did, on OpenTelemetry and ClickHouse")
  .version(VERSION)
  .configureHelp({ sortSubcommands: false })
  .enablePositionalOptions()
  .showHelpAfterError("(--help shows what is accepted)")
  .exitOverride()
  .addCommand(runCommand())
  .addCommand(collectorCommand())
  .addCommand(printConfigCommand())
  .addCommand(credentialCommand())
  .addCommand(queryCommand())
  .addCommand(policyCommand())
  .addCommand(shipCommand())
  .addCommand(schemaCommand())
  .addHelpText("after", HELP);

for (const command of program.commands) inheritSettings(command, program);

toleratePipes();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong; `--help` and `--version` end with 0.
    process.exitCode = error.exitCode === 0 ? ExitCode.Ok : ExitCode.Usage;
  } else {
    tell(`otel-audit: ${describeError(error)}`);
    process.exitCode = isWrongUse(error) ? ExitCode.Usage : ExitCode.No;
  }
}

/** Subcommands that are added ready-made do not inherit the settings of their parent. */
function inheritSettings(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const sub of command.commands) inheritSettings(sub, command);
}
