import { readFileSync } from "node:fs";
import type { ClickHouseConnection } from "./connection.ts";
import { ClickHouseError } from "./errors.ts";
import { ClickHouseHttp } from "./http.ts";

/** How the schema is written. */
export interface SchemaOptions {
  /** Database of all tables. Default `otel_audit`. Letters, digits, `_`, `-`; at most 128 characters. */
  readonly database?: string;
  /**
   * Name of a cluster. The tables become Replicated `<name>_local` ones on every node with a Distributed table of the
   * plain name before them. Default: one server.
   */
  readonly cluster?: string;
  /**
   * Engine of the tables that hold data. Default `MergeTree`; with `cluster` `ReplicatedMergeTree` with the server's
   * default path (`default_replica_path`).
   */
  readonly engine?: string;
}

/** Default database of all tables. */
export const DEFAULT_DATABASE = "otel_audit";

/** Tables that hold data, with how a cluster spreads them: a segment is one block only if one shard takes it whole. */
const TABLES = [
  { file: "10_audit_events.sql", table: "audit_events", shardingKey: "sipHash64(StreamId)" },
  { file: "20_audit_seals.sql", table: "audit_seals", shardingKey: "sipHash64(StreamId)" },
  { file: "30_otel_traces.sql", table: "otel_traces", shardingKey: "sipHash64(TraceId)" },
  { file: "31_otel_traces_trace_id_ts.sql", table: "otel_traces_trace_id_ts", shardingKey: "sipHash64(TraceId)" },
] as const;

const VIEWS = ["50_audit_events_once.sql", "51_audit_duplicates.sql", "52_audit_conflicts.sql"] as const;

/**
 * The statements that create everything otel-audit needs, in order, each of them harmless to repeat.
 *
 * @throws ClickHouseError `INVALID_OPTION` for a name that is not one.
 */
export function schemaStatements(options: SchemaOptions = {}): string[] {
  const database = checkName("database", options.database ?? DEFAULT_DATABASE);
  const cluster = options.cluster === undefined ? undefined : checkName("cluster", options.cluster);
  const values: Record<string, string> = {
    database: quote(database),
    database_literal: `'${database}'`,
    on_cluster: cluster === undefined ? "" : ` ON CLUSTER ${quote(cluster)}`,
    cluster_literal: `'${cluster ?? ""}'`,
    engine: options.engine ?? (cluster === undefined ? "MergeTree" : "ReplicatedMergeTree"),
    suffix: cluster === undefined ? "" : "_local",
    // A Distributed table on both sides of IN would compare each shard with itself only.
    global: cluster === undefined ? "" : "GLOBAL ",
    deduplication_window:
      cluster === undefined ? "non_replicated_deduplication_window" : "replicated_deduplication_window",
  };
  const statements = [render("00_database.sql", values)];
  for (const { file } of TABLES) statements.push(render(file, values));
  statements.push(render("32_otel_traces_trace_id_ts_mv.sql", values));
  if (cluster !== undefined) {
    for (const { table, shardingKey } of TABLES) {
      statements.push(render("40_distributed.sql", { ...values, table, sharding_key: shardingKey }));
    }
  }
  for (const file of VIEWS) statements.push(render(file, values));
  return statements;
}

function render(file: string, values: Readonly<Record<string, string>>): string {
  const text = readFileSync(new URL(`../schema/${file}`, import.meta.url), "utf8");
  return text.trim().replace(/\{\{(\w+)\}\}/g, (placeholder, name: string) => {
    const value = values[name];
    if (value === undefined) throw new ClickHouseError("SCHEMA", `${file}: nothing known for ${placeholder}`);
    return value;
  });
}

/** A checked name as it stands in SQL. */
export function quoteName(option: string, name: string): string {
  return quote(checkName(option, name));
}

/** Quotes only where it must, so that printed statements read as a person would write them. */
function quote(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : `\`${name}\``;
}

function checkName(option: string, name: string): string {
  if (/^[A-Za-z0-9_-]{1,128}$/.test(name)) return name;
  throw new ClickHouseError(
    "INVALID_OPTION",
    `${option} ${JSON.stringify(name)}: 1 to 128 letters, digits, "_" or "-" are allowed`,
  );
}

/**
 * Creates what is missing of database, tables and views; leaves what is there. Needs rights to create.
 *
 * @param options `signal` ends it, also while a server does not answer
 * @throws ClickHouseError
 */
export async function applySchema(
  connection: ClickHouseConnection,
  options: SchemaOptions & { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  options.signal?.throwIfAborted();
  const http = new ClickHouseHttp(connection, 120_000);
  const stop = (): void => void http.close();
  options.signal?.addEventListener("abort", stop, { once: true });
  try {
    const database = options.database ?? connection.database ?? DEFAULT_DATABASE;
    for (const statement of schemaStatements({ ...options, database })) {
      options.signal?.throwIfAborted();
      await http.command(statement);
    }
  } finally {
    options.signal?.removeEventListener("abort", stop);
    await http.close();
  }
}

/**
 * Creates database, tables and views unless `audit_events` is there: for those who may write but not create.
 *
 * @throws ClickHouseError
 */
export async function ensureSchema(connection: ClickHouseConnection): Promise<void> {
  const http = new ClickHouseHttp(connection, 30_000);
  try {
    const database = quoteName("database", connection.database ?? DEFAULT_DATABASE);
    const [row] = await http.query<{ result: number }>(`EXISTS TABLE ${database}.audit_events`);
    if (row?.result === 1) return;
  } finally {
    await http.close();
  }
  await applySchema(connection);
}
