import { exception } from "./exception.ts";
import type { EngineLimits } from "./limits.ts";
import { names } from "./names.ts";

/** Who asks. */
export type Role = "reader" | "writer";

/** Parameters of the HTTP interface itself: read elsewhere, or without a meaning here. */
const HTTP_PARAMETERS = names(`
  query, query_id, database, default_format, user, password, enable_http_compression,
  client_protocol_version, quota_key, readonly, log_comment, buffer_size, wait_end_of_query,
  http_wait_end_of_query, http_response_buffer_size, http_write_exception_in_output_format,
  http_zlib_compression_level, http_headers_progress_interval_ms, send_progress_in_http_headers,
  cancel_http_readonly_queries_on_client_close, add_http_cors_header,
  http_make_head_request, log_queries, session_id, session_timeout, session_check
`);

/** Settings that change how an answer looks or how much of the machine it may take, never what may be read. */
const READ_SETTINGS = names(`
  extremes, totals_mode, join_use_nulls, group_by_use_nulls, transform_null_in, union_default_mode,
  prefer_column_name_to_alias, join_algorithm, session_timezone, date_time_output_format,
  interval_output_format, bool_true_representation, bool_false_representation, format_csv_delimiter,
  format_csv_null_representation, format_tsv_null_representation, limit, offset, result_overflow_mode,
  select_sequential_consistency, max_rows_to_read, max_bytes_to_read, use_skip_indexes,
  optimize_read_in_order, distinct_overflow_mode, count_distinct_implementation, final,
  do_not_merge_across_partitions_select_final, use_query_condition_cache, max_block_size
`);

/** Settings of an INSERT. */
const INSERT_SETTINGS = names(`
  async_insert, wait_for_async_insert, insert_deduplicate, insert_deduplication_token,
  max_insert_block_size, min_insert_block_size_rows, min_insert_block_size_bytes, max_insert_threads,
  max_insert_block_size_bytes, max_partitions_per_insert_block, throw_on_max_partitions_per_insert_block,
  deduplicate_blocks_in_dependent_materialized_views, date_time_input_format, insert_quorum,
  insert_quorum_parallel, insert_null_as_default, materialized_views_ignore_errors, max_execution_time,
  distributed_foreground_insert, parallel_view_processing
`);

/** `FORMAT Protobuf` writes the schema that it made up into the file of this name, whatever it is. */
const WRITES_A_FILE = "output_format_schema";

/** Limits: a client may tighten them. */
const TIGHTENED = new Set([
  "max_execution_time",
  "max_result_rows",
  "max_result_bytes",
  "max_memory_usage",
  "max_threads",
]);
const MAX_THREADS = 16;
const MAX_BLOCK_SIZE = 1_048_576;

/** Settings and bound parameters of a request, checked. */
export interface RequestSettings {
  readonly settings: ReadonlyMap<string, string>;
  /** Values of `{name:Type}`, in ClickHouse's escaped text as they came. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Sorts the parameters of a request's address.
 *
 * @throws ClickHouseError 164 (READONLY) for a setting that this kind of statement may not change.
 */
export function readSettings(search: URLSearchParams, kind: "read" | "insert"): RequestSettings {
  const settings = new Map<string, string>();
  const parameters = new Map<string, string>();
  for (const [name, value] of search) {
    if (value.includes("\0")) throw exception("BAD_ARGUMENTS", `parameter ${JSON.stringify(name)}: a NUL byte`);
    if (name.startsWith("param_")) {
      parameters.set(checkName(name).slice("param_".length), value);
    } else if (name === "compress" || name === "decompress") {
      if (value !== "0")
        throw exception("NOT_IMPLEMENTED", `${name}=${value}: use Content-Encoding and Accept-Encoding`);
    } else if (!HTTP_PARAMETERS.has(name)) {
      if (!mayChange(name, kind)) throw exception("READONLY", `Cannot modify '${name}' setting in readonly mode`);
      settings.set(name, value);
    }
  }
  return { settings, parameters };
}

function mayChange(name: string, kind: "read" | "insert"): boolean {
  if (kind === "insert") return INSERT_SETTINGS.has(name) || /^input_format_[a-z0-9_]+$/.test(name);
  if (name === WRITES_A_FILE) return false;
  return READ_SETTINGS.has(name) || TIGHTENED.has(name) || /^output_format_[a-z0-9_]+$/.test(name);
}

function checkName(name: string): string {
  if (/^[A-Za-z_]\w{0,127}$/.test(name)) return name;
  throw exception("BAD_ARGUMENTS", `parameter ${JSON.stringify(name)}: not a name`);
}

/** The settings a read runs with: what the client asked for, within the role's limits, and then nothing more to change. */
export function readingSettings(
  asked: ReadonlyMap<string, string>,
  role: Role,
  limits: EngineLimits,
): Map<string, string> {
  const bounds: [name: string, bound: number][] =
    role === "reader"
      ? [
          ["max_execution_time", limits.readerSeconds],
          ["max_memory_usage", limits.readerMemoryBytes],
          ["max_result_rows", limits.readerResultRows],
          ["max_result_bytes", limits.readerResultBytes],
        ]
      : [
          ["max_execution_time", limits.writerSeconds],
          ["max_memory_usage", limits.writerMemoryBytes],
          ["max_result_bytes", limits.writerResultBytes],
        ];
  const settings = new Map(asked);
  for (const [name, bound] of bounds) settings.set(name, String(tighten(asked.get(name), bound)));
  if (asked.has("max_threads")) settings.set("max_threads", String(tighten(asked.get("max_threads"), MAX_THREADS)));
  if (asked.has("max_block_size")) {
    settings.set("max_block_size", String(tighten(asked.get("max_block_size"), MAX_BLOCK_SIZE)));
  }
  // The rest of a slow query is not cheap to estimate; the clock alone decides.
  settings.set("timeout_before_checking_execution_speed", "0");
  return settings;
}

/** The asked value, unless it is more than the bound; 0 and nonsense mean "no limit" to the engine, so: the bound. */
function tighten(asked: string | undefined, bound: number): number {
  const value = Number(asked ?? Number.NaN);
  return value > 0 && value < bound ? value : bound;
}
