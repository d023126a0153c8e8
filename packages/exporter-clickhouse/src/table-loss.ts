import type { ClickHouseSettings } from "@clickhouse/client";
import type { ShippedRow } from "@otel-audit/ledger";
import { stringLiteral } from "./embedded/sql-tokens.ts";
import type { HttpTarget } from "./http-source.ts";

/** A row that was counted in `audit_events` is not there. */
export interface TableLoss {
  /** ReceivedAt of the newest older row that the table has, in UTC; undefined: it has none. */
  readonly newestBefore: string | undefined;
}

const DAY_MS = 86_400_000;
/** At least so long is one of it, in milliseconds. */
const UNITS: Readonly<Record<string, number>> = {
  Second: 1_000,
  Minute: 60_000,
  Hour: 3_600_000,
  Day: DAY_MS,
  Week: 7 * DAY_MS,
  Month: 28 * DAY_MS,
  Quarter: 90 * DAY_MS,
  Year: 365 * DAY_MS,
};

/**
 * Looks for the row. What the table's TTL may have removed is no loss.
 *
 * @throws ClickHouseError
 */
export async function findTableLoss(
  { http, database, databaseName }: HttpTarget,
  { streamId, sequence, receivedAt }: ShippedRow,
  settings: ClickHouseSettings,
): Promise<TableLoss | undefined> {
  const table = `${database}.audit_events`;
  const at = "fromUnixTimestamp64Nano({at:Int64}, 'UTC')";
  const values = { at: String(receivedAt), stream: streamId, sequence: String(sequence) };
  const [found] = await http.query<{ n: string }>(
    // By time alone the engine leaves out all parts but those of that moment.
    `SELECT toString(count()) AS n FROM ${table} ` +
      `WHERE ReceivedAt = ${at} AND StreamId = {stream:UUID} AND Sequence = {sequence:UInt64}`,
    settings,
    values,
  );
  if (found?.n !== "0") return undefined;
  const engines = await http.query<{ engine: string }>(
    "SELECT engine_full AS engine FROM system.tables " +
      `WHERE database = ${stringLiteral(databaseName)} AND name IN ('audit_events', 'audit_events_local')`,
  );
  const ageMs = Date.now() - Number(receivedAt / 1_000_000n);
  if (engines.some(({ engine }) => ageMs >= shortestTtlMs(engine))) return undefined;
  const [older] = await http.query<{ at: string; n: string }>(
    `SELECT toString(max(toTimeZone(ReceivedAt, 'UTC'))) AS at, toString(count()) AS n FROM ${table} WHERE ReceivedAt < ${at}`,
    settings,
    { at: values.at },
  );
  return { newestBefore: older === undefined || older.n === "0" ? undefined : older.at };
}

/** How long rows stay at least; 0 where the TTL is none that is understood. */
export function shortestTtlMs(engine: string): number {
  const ttl = / TTL (.*?)(?: SETTINGS |$)/s.exec(engine)?.[1];
  if (ttl === undefined) return Infinity;
  const intervals = [...ttl.matchAll(/toInterval(\w+)\((\d+)\)/g)];
  const lengths = intervals.map(([, unit = "", count]) => (UNITS[unit] ?? 0) * Number(count));
  return lengths.length === 0 ? 0 : Math.min(...lengths);
}
