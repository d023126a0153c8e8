type Reasons = Readonly<Record<string, string>>;

const TIMES = "requests have fixed limits of time; remove it";
const BUFFERS = "Node chooses its buffers; remove it";
const PATHS = "the paths are those of OTLP: /v1/traces, /v1/logs, /v1/metrics; remove it";
const NO_WAITING = "a debug queue never makes anybody wait: it drops its oldest request, counted; remove it";
const BACKOFF = "each wait is twice as long as the one before, shortened by up to half at random; remove it";
const CONNECTIONS = "connections to the backend are few and kept; sending_queue::num_consumers bounds them; remove it";
const AS_FILE = "name a file: a configuration is printed and passed around";
const LOG_LINES =
  "log lines are JSON on stderr, for whoever runs the service to collect; choose service::telemetry::logs::level and encoding";
const LABELS = "metrics have otelcol's names without units and suffixes, and no scope labels; remove it";
const STATUS = "the answer is one status for the whole service, and on this machine its reasons; remove it";

const TLS: Reasons = {
  max_version: "the newest TLS that both sides know is used; remove it",
  cipher_suites: "Node's suites are used; remove it",
  ca_pem: AS_FILE,
  cert_pem: AS_FILE,
  key_pem: AS_FILE,
};

const CLIENT_TLS: Reasons = {
  ...TLS,
  insecure: "http:// in the endpoint is a connection without TLS; remove it",
  include_system_ca_certs_pool: "ca_file is trusted instead of what Node brings; put all authorities into it",
};

const OTLPHTTP: Reasons = {
  ...CLIENT_TLS,
  storage:
    "debug telemetry waits in memory, bounded (audit records wait on disk: exporters::clickhouse_audit::log); put an otelcol with file_storage behind this collector",
  block_on_overflow: NO_WAITING,
  wait_for_result: NO_WAITING,
  sizer:
    "a queue is bounded in requests (queue_size) and in bytes (max_bytes), a batch in bytes (batch::max_size); remove it",
  min_size: "a batch goes out when it has max_size bytes or has waited for flush_timeout; remove it",
  encoding: "requests go on as the bytes that came, protobuf or JSON; remove it",
  compression_params: "gzip has its default level; remove it",
  multiplier: BACKOFF,
  randomization_factor: BACKOFF,
  auth: "use headers (authorization: Bearer ${env:TOKEN}) or a client certificate (tls::cert_file)",
  proxy_url: "requests go to the endpoint itself; remove it",
  profiles_endpoint: "profiles are not received here; send them to the backend",
  middlewares: "requests go on as they came; remove it",
  read_buffer_size: BUFFERS,
  write_buffer_size: BUFFERS,
  max_idle_conns: CONNECTIONS,
  max_idle_conns_per_host: CONNECTIONS,
  max_conns_per_host: CONNECTIONS,
  idle_conn_timeout: CONNECTIONS,
  disable_keep_alives: CONNECTIONS,
};

const CLICKHOUSE: Reasons = {
  ...CLIENT_TLS,
  async_insert: "asynchronous inserts cannot be stored once; remove it",
  ttl: "records are kept until an administrator drops partitions; see `otel-audit schema print`",
  traces_table_name: "the tables are audit_events and otel_traces; choose their database",
  connection_params: "write endpoint, username, password, database and tls",
  table_engine: "set cluster for replicated tables; see `otel-audit schema print`",
  cluster_name: "it is called cluster here",
};

/** By type of component, or `service`: settings that otelcol has, with the reason why they are not here and what to do instead. */
const REFUSED: Readonly<Record<string, Reasons>> = {
  otlp: {
    ...TLS,
    include_metadata: "no component of this collector looks at the headers of requests; remove it",
    cors: "what a page in a browser says about itself is no evidence; send from a server, or to an otelcol before this collector",
    traces_url_path: PATHS,
    logs_url_path: PATHS,
    metrics_url_path: PATHS,
    compression_algorithms: "gzip, deflate and zstd are taken, with limits after decompression; remove it",
    client_ca_file_reload: "all files are looked at again at every reload_interval; remove it",
    middlewares: "requests are limited by memory_limiter and audit_credentials; remove it",
    read_buffer_size: BUFFERS,
    write_buffer_size: BUFFERS,
    read_timeout: TIMES,
    read_header_timeout: TIMES,
    write_timeout: TIMES,
    idle_timeout: TIMES,
    keep_alives_enabled: "connections are kept, as OTLP recommends; remove it",
  },
  otlphttp: OTLPHTTP,
  otlp_http: OTLPHTTP,
  clickhouse_audit: {
    ...CLICKHOUSE,
    sending_queue: "records wait on disk; see log and segment",
    retry_on_failure: "a segment is tried until it is in the table; remove it",
    timeout: "an insert that is slow is waited for, then counted; remove it",
  },
  clickhouse_traces: CLICKHOUSE,
  health_check: {
    tls: "others than this machine learn only whether all is well; remove it",
    auth: "others than this machine learn only whether all is well; remove it",
    cors: STATUS,
    response_body: STATUS,
    response_headers: STATUS,
    check_collector_pipeline: STATUS,
    use_v2: STATUS,
  },
  service: {
    "telemetry::resource":
      "metrics have service_name, service_version and service_instance_id; add other labels where they are scraped",
    "telemetry::traces": "the collector makes no spans of its own work; remove it",
    "logs::processors": LOG_LINES,
    output_paths: LOG_LINES,
    error_output_paths: LOG_LINES,
    development: LOG_LINES,
    disable_caller: LOG_LINES,
    disable_stacktrace: LOG_LINES,
    initial_fields: LOG_LINES,
    sampling: "what requests can cause is one line once in a while; remove it",
    views: "all metrics are there; drop what is not wanted where they are scraped",
    periodic: "metrics are scraped; let an otelcol with the prometheus receiver push them",
    without_scope_info: LABELS,
    without_type_suffix: LABELS,
    without_units: LABELS,
    with_resource_constant_labels: LABELS,
    translation_strategy: LABELS,
  },
};

/**
 * Why a setting of otelcol is not here; undefined when it is not known at all.
 *
 * @param type of the component, or `service`
 * @param path to the setting, with its name
 */
export function settingRefusal(type: string, path: readonly PropertyKey[]): string | undefined {
  const reasons = Object.hasOwn(REFUSED, type) ? REFUSED[type]! : {};
  const names = [path.slice(-2).join("::"), String(path.at(-1))];
  const name = names.find((key) => Object.hasOwn(reasons, key));
  return name === undefined ? undefined : reasons[name];
}

/** Those with a reason, for those who want to see them all. */
export function refusedSettings(): readonly (readonly [type: string, name: string])[] {
  return Object.entries(REFUSED).flatMap(([type, reasons]) =>
    Object.keys(reasons).map((name) => [type, name] as const),
  );
}
