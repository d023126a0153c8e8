/**
 * What `otel-audit collector` does without a configuration: OTLP in on loopback, audit spans into the ledger and
 * `audit_events`, debug spans into `otel_traces` of the same embedded engine.
 */
export const DEFAULT_CONFIG = `# The configuration that is built in; \`otel-audit collector --config FILE\` replaces it.
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:4317
      http:
        endpoint: 127.0.0.1:4318

connectors:
  audit_router:
    audit: [traces/audit]
    debug: [traces/debug]

processors:
  audit:

exporters:
  clickhouse_audit:
    engine: clickhouse_embedded
  clickhouse_traces:
    engine: clickhouse_embedded

extensions:
  health_check:
    endpoint: 127.0.0.1:13133
  clickhouse_embedded:
    endpoint: 127.0.0.1:8123

service:
  extensions: [health_check, clickhouse_embedded]
  pipelines:
    traces:
      receivers: [otlp]
      processors: [audit]
      exporters: [audit_router]
    traces/audit:
      receivers: [audit_router]
      exporters: [clickhouse_audit]
    traces/debug:
      receivers: [audit_router]
      exporters: [clickhouse_traces]
  telemetry:
    metrics:
      address: 127.0.0.1:8888
    logs:
      level: info
`;
