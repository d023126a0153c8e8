import { COLUMNS } from "@otel-audit/ledger";
import { ClickHouseError } from "./errors.ts";
import type { HttpTarget } from "./http-source.ts";
import { stringLiteral } from "./embedded/sql-tokens.ts";

/** Problems named in one message: enough to see what kind of table it is. */
const NAMED = 5;

/**
 * Compares `audit_events` with the columns that rows have. Younger columns of the table are fine: they take their default.
 *
 * @returns false when there is no such table, or none that this user may see.
 * @throws ClickHouseError `SCHEMA` that names the columns.
 */
export async function checkTable({ http, database, databaseName }: HttpTarget): Promise<boolean> {
  const found = await http.query<{ name: string; type: string; kind: string }>(
    "SELECT name, type, default_kind AS kind FROM system.columns " +
      `WHERE database = ${stringLiteral(databaseName)} AND table = 'audit_events'`,
  );
  if (found.length === 0) return false;
  const columns = new Map(found.map((column) => [column.name, column]));
  const problems = COLUMNS.flatMap(({ name, type }) => {
    const column = columns.get(name);
    if (column === undefined) return [`it has no column ${name} (${type})`];
    // A value that the table computes is not the one that was hashed.
    if (column.kind === "MATERIALIZED" || column.kind === "ALIAS") return [`column ${name} is ${column.kind}`];
    return column.type === type ? [] : [`column ${name} is ${column.type}, it has to be ${type}`];
  });
  if (problems.length === 0) return true;
  const more = problems.length > NAMED ? ` and ${problems.length - NAMED} more` : "";
  throw new ClickHouseError("SCHEMA", `${database}.audit_events: ${problems.slice(0, NAMED).join("; ")}${more}`);
}
