import { Command } from "commander";
import { DEFAULT_DATABASE, schemaStatements } from "@otel-audit/exporter-clickhouse";

export function schemaCommand(): Command {
  const print = new Command("print")
    .description("Print the CREATE statements of the audit tables and views")
    .option("--database <name>", "database of the tables", DEFAULT_DATABASE)
    .option("--cluster <name>", "replicated and distributed tables on this cluster")
    .action((options: { database: string; cluster?: string }) => {
      const statements = schemaStatements({ database: options.database, ...(options.cluster !== undefined && { cluster: options.cluster }) });
      process.stdout.write(`${statements.map((statement) => `${statement.trim().replace(/;$/, "")};`).join("\n\n")}\n`);
    });
  return new Command("schema").description("The tables in ClickHouse").addCommand(print);
}
