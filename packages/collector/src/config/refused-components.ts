import type { ComponentKind } from "../components.ts";

const BEHIND = "do it in the otelcol behind this collector, on the debug spans that the router passes on";
const BEFORE = `nothing may change an audit record on its way: its hash is taken of what was sent; ${BEHIND}`;
const SAMPLING = `an audit record is never sampled away, and a dropped debug span is better dropped where traces are whole; ${BEHIND}`;
const ENRICH = `nothing is added to an audit record on its way; set it where the span is made (OTEL_RESOURCE_ATTRIBUTES), or ${BEHIND}`;
const RECEIVER =
  "only OTLP is received here; let an otelcol receive it and send OTLP (otel-audit print-config --for otelcol)";
const BACKEND =
  "debug telemetry leaves by otlphttp or clickhouse_traces only; send it by otlphttp to an otelcol that has this exporter";

/**
 * Components that people who run an otelcol know and that are not here, with the reason and what to do instead. A
 * processor that would drop or alter audit records is refused by name, not as a spelling mistake.
 */
const REFUSED: { readonly [Kind in ComponentKind]: Readonly<Record<string, string>> } = {
  processor: {
    batch:
      "it acknowledges before a record is on disk, so that a crash loses it; audit records are batched in the log (exporters::clickhouse_audit::segment) and debug spans in exporters::otlphttp::sending_queue::batch; remove it",
    filter: `a record that a filter drops is missing from the evidence; ${BEHIND}`,
    tail_sampling: SAMPLING,
    probabilistic_sampler: SAMPLING,
    attributes: BEFORE,
    transform: BEFORE,
    redaction: `${BEFORE}; secrets are kept out where a record is made`,
    resource: BEFORE,
    span: BEFORE,
    schema: BEFORE,
    cumulativetodelta: BEFORE,
    metricstransform: BEFORE,
    resourcedetection: ENRICH,
    k8sattributes: ENRICH,
    k8s_attributes: ENRICH,
    geoip: ENRICH,
    groupbytrace: `it holds spans in memory after they were acknowledged, so that a crash loses them; ${BEHIND}`,
    groupbyattrs: BEFORE,
    interval: `it holds data in memory after it was acknowledged; ${BEHIND}`,
    routing: "use the connector audit_router: spans with audit.action one way, all others the other",
    remotetap: `a copy of audit records would leave without a trace; ask ClickHouse (otel-audit query), or ${BEHIND}`,
  },
  receiver: {
    jaeger: RECEIVER,
    zipkin: RECEIVER,
    kafka: RECEIVER,
    opencensus: RECEIVER,
    prometheus: RECEIVER,
    hostmetrics: RECEIVER,
    filelog: RECEIVER,
    file_log: RECEIVER,
    fluentforward: RECEIVER,
    otlpjsonfile: RECEIVER,
    datadog: RECEIVER,
    skywalking: RECEIVER,
  },
  exporter: {
    otlp: "OTLP leaves over HTTP here: use otlphttp with the backend's HTTP endpoint (usually port 4318)",
    otlp_grpc: "OTLP leaves over HTTP here: use otlphttp with the backend's HTTP endpoint (usually port 4318)",
    debug:
      "records are not printed: they may name persons and secrets; ask for them with `otel-audit query` or `otel-audit tail`, and raise service::telemetry::logs::level for the collector's own lines",
    logging:
      "records are not printed: they may name persons and secrets; ask for them with `otel-audit query` or `otel-audit tail`",
    clickhouse:
      "use clickhouse_audit for audit records and clickhouse_traces for debug spans (the same table, otel_traces)",
    file: BACKEND,
    jaeger: BACKEND,
    zipkin: BACKEND,
    kafka: BACKEND,
    prometheus: BACKEND,
    prometheusremotewrite: BACKEND,
    loki: BACKEND,
    datadog: BACKEND,
    awsxray: BACKEND,
    googlecloud: BACKEND,
    azuremonitor: BACKEND,
    elasticsearch: BACKEND,
    splunk_hec: BACKEND,
    load_balancing: BACKEND,
    loadbalancing: BACKEND,
    nop: "leave the pipelines under connectors::audit_router::debug empty: debug spans are then dropped",
  },
  connector: {
    routing: "use audit_router: spans with audit.action one way, all others the other",
    forward: "list the exporters in the pipeline itself",
    spanmetrics: BACKEND,
    span_metrics: BACKEND,
    servicegraph: BACKEND,
    count: BACKEND,
    failover:
      "an audit record has one destination; segments wait on disk while ClickHouse is away (exporters::clickhouse_audit::log)",
  },
  extension: {
    file_storage:
      "audit records are on disk before they are acknowledged, always (exporters::clickhouse_audit::log); debug telemetry waits in memory, bounded; remove it",
    zpages: "see /metrics (service::telemetry::metrics) and the answer of health_check, which names what is wrong",
    pprof: "this is a Node program: start it with NODE_OPTIONS=--cpu-prof or --inspect=127.0.0.1:9229",
    memory_ballast: "it is not needed: use the processor memory_limiter",
    memory_limiter: "use it as a processor",
    healthcheckv2: "use health_check: one status for the whole service, with reasons",
    health_check_v2: "use health_check: one status for the whole service, with reasons",
    basicauth: "use audit_credentials: bearer tokens and client certificates",
    bearertokenauth: "use audit_credentials: it holds hashes of tokens, and whose they are",
    oidc: "use audit_credentials: bearer tokens and client certificates",
  },
};

/** Why a component of otelcol is not here; undefined when it is not known at all. */
export function componentRefusal(kind: ComponentKind, type: string): string | undefined {
  return Object.hasOwn(REFUSED[kind], type) ? REFUSED[kind][type] : undefined;
}

/** Types with a reason of their own, for those who want to see them all. */
export function refusedTypes(kind: ComponentKind): readonly string[] {
  return Object.keys(REFUSED[kind]);
}
