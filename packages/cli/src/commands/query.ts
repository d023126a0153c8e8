import { Command, Option } from "commander";
import { CSV_FORMAT, JSON_FORMAT, JSONL_FORMAT, recordTable, type RecordFormat } from "../output/records.ts";
import { paint, print, tell } from "../output/stdout.ts";
import { printable } from "../output/text.ts";
import type { RecordFilter } from "../records/filter.ts";
import { inlineParams, knownNamesQuery, recordsQuery, type AuditQuery, type AuditRow } from "../records/query.ts";
import type { RecordSource, SourceOptions } from "../records/source.ts";
import { filterOptions, integer, sourceOptions } from "./options.ts";

const FORMATS = ["table", "json", "csv", "jsonl", "sql"] as const;
const WRITERS: Readonly<Record<"json" | "jsonl" | "csv", RecordFormat>> = {
  json: JSON_FORMAT,
  jsonl: JSONL_FORMAT,
  csv: CSV_FORMAT,
};
/** The embedded engine gives a reader no more rows than this. */
const MAX_LIMIT = 1_000_000;

interface QueryOptions extends RecordFilter, SourceOptions {
  readonly limit: number;
  readonly format: (typeof FORMATS)[number];
}

const HELP = `
Filters are ANDed. Times are UTC, in what you give and in what you see. The newest records are taken and shown oldest
first. csv is made for spreadsheets (no cell is a formula, control characters are spelled out); json and jsonl have
every value exactly. sql prints the statement instead of running it.

Without --url the records come from the collector that runs on --data, or from its files when none runs.

Examples:
  otel-audit query --agent refunds --from 2h
  otel-audit query --decision deny,review --from 2026-11-20 --to 2026-11-21
  otel-audit query --target '*.orders' --action UPDATE,DELETE --format csv > changes.csv
  otel-audit query --workflow refund --format sql | clickhouse-client`;

export function queryCommand(): Command {
  const command = new Command("query").description(
    "Show audit records: who did what, on which resource, when, with what result, under which policy",
  );
  filterOptions(command)
    .option("--target <uri>", "resource by id or by the policy's name, * for any characters")
    .option("--action <actions>", "READ, WRITE, CREATE, UPDATE, DELETE, EXECUTE; several with commas")
    .option("--decision <decisions>", "allow, deny, review; several with commas")
    .option("--outcome <outcomes>", "success, failure, unknown; several with commas")
    .option("--trace <id>", "trace id, 32 hexadecimal digits")
    .option("--limit <n>", `this many of the newest records, at most ${MAX_LIMIT}`, integer(1, MAX_LIMIT), 100)
    .addOption(new Option("--format <format>", "how to show them").choices(FORMATS).default("table"));
  sourceOptions(command).addHelpText("after", HELP);
  return command.action((options: QueryOptions) => query(options));
}

async function query(options: QueryOptions): Promise<void> {
  const statement = recordsQuery(options, options.limit, options.database);
  if (options.format === "sql") {
    await print(`${inlineParams(statement)};\n`);
    return;
  }
  const { RecordSource } = await import("../records/source.ts");
  const source = await RecordSource.open(options);
  try {
    if (source.notice !== undefined) tell(`otel-audit: ${source.notice}`);
    if (options.format === "table") await printTable(source, statement, options);
    else await printAs(WRITERS[options.format], source, statement);
  } finally {
    await source.close();
  }
}

async function printAs(format: RecordFormat, source: RecordSource, statement: AuditQuery): Promise<void> {
  let count = 0;
  // The head goes out with the first record: an answer that is an error must not look like an empty one.
  let pending = format.head;
  for await (const row of source.rows<AuditRow>(statement)) {
    pending += format.record(row, count++);
    if (pending.length < 64 * 1024) continue;
    if (!(await print(pending))) return;
    pending = "";
  }
  await print(pending + format.tail(count));
}

async function printTable(source: RecordSource, statement: AuditQuery, options: QueryOptions): Promise<void> {
  const rows = await Array.fromAsync(source.rows<AuditRow>(statement));
  if (rows.length === 0) {
    tell("no records");
    if (options.agent !== undefined || options.workflow !== undefined) await tellKnownNames(source);
    return;
  }
  const { day, lines, styles } = recordTable(rows, process.stdout.isTTY ? process.stdout.columns : undefined);
  const text = lines.map((line, i) => (styles[i] === undefined ? line : paint(process.stdout, styles[i], line)));
  const more = rows.length === options.limit ? `, the newest ${options.limit}; --limit shows more` : "";
  const on = day === undefined ? "" : ` of ${day}`;
  if (await print(`${text.join("\n")}\n`))
    tell(`${rows.length} ${rows.length === 1 ? "record" : "records"}${on}${more}`);
}

/** A name that nobody has is most often a typing error. */
async function tellKnownNames(source: RecordSource): Promise<void> {
  const known = await Array.fromAsync(source.rows<{ Kind: string; Name: string }>(knownNamesQuery(source.database)));
  for (const [kind, names] of Map.groupBy(known, ({ Kind }) => Kind)) {
    tell(`${kind}s with records: ${names.map(({ Name }) => printable(Name)).join(", ")}`);
  }
}
