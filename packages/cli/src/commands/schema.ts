import { Command } from "commander";
import { CliError } from "../errors.ts";
import { print } from "../output/stdout.ts";

interface PrintOptions {
  readonly database: string;
  readonly cluster?: string;
}

const HELP = `
Every statement can be run again without harm. The embedded engine creates its tables by itself; this is for a server.

Examples:
  otel-audit schema print | clickhouse-client --multiquery
  otel-audit schema print --cluster main --database audit`;

export function schemaCommand(): Command {
  const printing = new Command("print")
    .description("Print the CREATE statements of the audit tables and views")
    .option("--database <name>", "database of the tables", "otel_audit")
    .option("--cluster <name>", "replicated and distributed tables on this cluster")
    .addHelpText("after", HELP)
    .action((options: PrintOptions) => printSchema(options));
  return new Command("schema").description("The tables in ClickHouse").addCommand(printing);
}

async function printSchema({ database, cluster }: PrintOptions): Promise<void> {
  const { ClickHouseError, schemaStatements } = await import("@otel-audit/exporter-clickhouse");
  try {
    const statements = schemaStatements({ database, ...(cluster !== undefined && { cluster }) });
    await print(`${statements.map((statement) => `${statement.trim().replace(/;$/, "")};`).join("\n\n")}\n`);
  } catch (error) {
    // The message starts with the name of the option.
    if (error instanceof ClickHouseError) throw new CliError("USAGE", `--${error.message}`, { cause: error });
    throw error;
  }
}
