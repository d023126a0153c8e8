/** What differs from set-up to set-up in the configuration of an otelcol before this collector. */
export interface OtelcolSnippetOptions {
  /** Base URL of this collector's OTLP/HTTP. Default `http://127.0.0.1:4318`. */
  readonly endpoint?: string;
  /** Environment variable of the otelcol that holds its bearer token; none: no token is sent. */
  readonly tokenEnv?: string;
  /** Directory of the otelcol's persistent queue. Default `/var/lib/otelcol/otel_audit`. */
  readonly storage?: string;
}

/**
 * The piece of configuration by which an otelcol (contrib or k8s distribution) passes audit spans on: a second `--config`
 * beside the one that it has.
 */
export function otelcolSnippet(options: OtelcolSnippetOptions = {}): string {
  const endpoint = options.endpoint ?? "http://127.0.0.1:4318";
  const storage = options.storage ?? "/var/lib/otelcol/otel_audit";
  const token =
    options.tokenEnv === undefined
      ? ""
      : `
    headers:
      authorization: "Bearer \${env:${options.tokenEnv}}"`;
  return `# Audit spans on to otel-audit, for an OpenTelemetry Collector with the components routing and file_storage (contrib, k8s):
#   otelcol-contrib --config yours.yaml --config this.yaml
# Your pipelines stay as they are. This adds one beside them, from the same receiver.
connectors:
  routing/otel_audit:
    # A condition that fails is an error to the client, who sends again; \`ignore\` would drop the span.
    error_mode: propagate
    # No default_pipelines: a span without audit.action ends here, and goes its usual way in your pipelines.
    table:
      - context: span
        condition: attributes["audit.action"] != nil
        pipelines: [traces/otel_audit]

exporters:
  # otlp_http in the newest versions; this name works in all of them.
  otlphttp/otel_audit:
    endpoint: ${JSON.stringify(endpoint)}${token}
    # On one machine or in one cluster, compressing costs more than it saves.
    compression: none
    timeout: 30s
    retry_on_failure:
      enabled: true
      initial_interval: 1s
      max_interval: 30s
      # The default gives up after 5 minutes and drops the records. 0: never.
      max_elapsed_time: 0s
    sending_queue:
      enabled: true
      # On disk. The default queue is memory, which acknowledges what a crash then loses.
      storage: file_storage/otel_audit
      # Requests. When it is full the client is told to send again; nothing is dropped.
      queue_size: 10000
      num_consumers: 4

extensions:
  file_storage/otel_audit:
    directory: ${JSON.stringify(storage)}
    create_directory: true
    # Off by default: an acknowledged record would be lost when the machine stops.
    fsync: true

service:
  # Lists are replaced when files are merged: add the extensions that you have.
  extensions: [file_storage/otel_audit]
  pipelines:
    traces/otel_audit_in:
      # The receivers of your traces.
      receivers: [otlp]
      # None that samples, filters or changes spans, and no \`batch\`: it acknowledges what is only in memory.
      # A memory_limiter is fine here.
      processors: []
      exporters: [routing/otel_audit]
    traces/otel_audit:
      receivers: [routing/otel_audit]
      processors: []
      exporters: [otlphttp/otel_audit]

# Watch otelcol_exporter_send_failed_spans{exporter="otlphttp/otel_audit"}: it has to stay 0. An answer of 400, 401 or 403 is
# final for otelcol, and it drops the request: a wrong token shows there.
`;
}
