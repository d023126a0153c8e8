import { Command, Option } from "commander";
import { styleText } from "node:util";
import { renderTable, type Column } from "../output/table.ts";
import type { RecordFilter } from "../records/filter.ts";
import { inlineParams, recordsQuery, type AuditRow } from "../records/query.ts";
import { RecordSource, type SourceOptions } from "../records/source.ts";
import { integer, sourceOptions } from "./options.ts";

const FORMATS = ["table", "json", "csv", "jsonl", "sql"] as const;

interface QueryOptions extends RecordFilter, SourceOptions {
  readonly limit: number;
  readonly format?: (typeof FORMATS)[number];
}

export function queryCommand(): Command {
  const command = new Command("query")
    .description("Show audit records: who did what, on which resource, when, with what result, under which policy")
    .option("--agent <id>", "actor id or agent name; * for any characters")
    .option("--target <uri>", "resource, or the policy's name of it; * for any characters")
    .option("--action <action>", "READ, WRITE, CREATE, UPDATE, DELETE or EXECUTE")
    .option("--decision <decision>", "allow, deny or review")
    .option("--outcome <outcome>", "success, failure or unknown")
    .option("--workflow <name>", "workflow name, or the id of one run")
    .option("--trace <id>", "trace id")
    .option("--from <time>", "not before: 2026-11-21T10:00:00Z, or how long ago: 90s, 15m, 2h, 14d")
    .option("--to <time>", "before")
    .option("--limit <n>", "newest records at most", integer("--limit", 1, 1_000_000), 100)
    .addOption(new Option("--format <format>", "default: table").choices(FORMATS));
  sourceOptions(command);
  return command.action((options: QueryOptions) => query(options));
}

async function query(options: QueryOptions): Promise<void> {
  const statement = recordsQuery(options, options.limit);
  if (options.format === "sql") {
    process.stdout.write(`${inlineParams(statement)}\n`);
    return;
  }
  const source = await RecordSource.open(options);
  try {
    if (source.notice !== undefined) process.stderr.write(`otel-audit: ${source.notice}\n`);
    switch (options.format) {
      case "json":
        process.stdout.write(`${JSON.stringify(await source.rows<AuditRow>(statement), undefined, 2)}\n`);
        break;
      case "jsonl":
        process.stdout.write(await source.text(statement, "JSONEachRow"));
        break;
      case "csv":
        process.stdout.write(await source.text(statement, "CSVWithNames"));
        break;
      default:
        printTable(await source.rows<AuditRow>(statement), options.limit);
    }
  } finally {
    await source.close();
  }
}

const COLUMNS: readonly Column[] = [
  { title: "TIME" },
  { title: "AGENT", shrink: true },
  { title: "ON BEHALF OF", shrink: true },
  { title: "ACTION" },
  { title: "TARGET", shrink: true },
  { title: "OUTCOME" },
  { title: "DECISION" },
  { title: "RULE", shrink: true },
];

function printTable(rows: readonly AuditRow[], limit: number): void {
  if (rows.length === 0) {
    process.stdout.write("no records\n");
    return;
  }
  process.stdout.write(`${recordTable(rows)}\n`);
  const more = rows.length === limit ? ` (the newest ${limit}; --limit shows more)` : "";
  process.stderr.write(`${rows.length} ${rows.length === 1 ? "record" : "records"}${more}\n`);
}

/** The records as a table for the terminal that stdout is, or uncut. */
export function recordTable(rows: readonly AuditRow[]): string {
  const colour = process.stdout.isTTY && process.stdout.hasColors?.();
  const width = process.stdout.isTTY ? process.stdout.columns : undefined;
  const table = renderTable(COLUMNS, rows.map(cells), { width, colour: Boolean(colour) });
  if (!colour) return table;
  return table
    .split("\n")
    .map((line, i) => (i > 0 && rows[i - 1]!.Decision !== "allow" ? styleText(rows[i - 1]!.Decision === "deny" ? "red" : "yellow", line) : line))
    .join("\n");
}

function cells(row: AuditRow): string[] {
  return [
    row.Timestamp.slice(0, 23),
    row.ActorId,
    row.OnBehalfOf,
    row.Action,
    row.TargetId,
    row.ErrorType === "" ? row.Outcome : `${row.Outcome} (${row.ErrorType})`,
    row.Decision === "" ? "" : `${row.Decision}${row.Blocked ? ", stopped" : ""}`,
    row.Rule,
  ];
}
