import {
  AggregatorRegistry,
  Counter,
  Gauge,
  Registry,
  collectDefaultMetrics,
  type Aggregator,
  type MetricObjectWithValues,
  type MetricValue,
} from "prom-client";
import { VERSION } from "./version.ts";

/** One counter for each `Signal`, which is not imported: components import this file. */
interface PerSignal<Label extends string> {
  readonly traces: Counter<Label>;
  readonly logs: Counter<Label>;
  readonly metrics: Counter<Label>;
}

/** The metrics of one thread, as a message can carry them. */
export type MetricsSnapshot = readonly MetricObjectWithValues<MetricValue<string>>[];

/** Milliseconds since the process started are its uptime; CPU time counts from there too. */
const processStart = performance.now();

/**
 * The collector's own metrics: otelcol's names and labels where it has them (so that its dashboards work), ours with the
 * prefix `otel_audit_`. No `_total`, no unit suffix, as otelcol writes them.
 */
export class Telemetry {
  readonly registry = new Registry();
  readonly #readers: (() => void)[] = [];

  readonly accepted = this.#perSignal("otelcol_receiver_accepted", "accepted", ["receiver", "transport"]);
  readonly refused = this.#perSignal("otelcol_receiver_refused", "refused that the client may send again", [
    "receiver",
    "transport",
  ]);
  readonly failed = this.#perSignal("otelcol_receiver_failed", "that can never be accepted", ["receiver", "transport"]);
  readonly incomingItems = this.#counter("otelcol_processor_incoming_items", "Items given to a processor", [
    "processor",
    "otel_signal",
  ]);
  readonly outgoingItems = this.#counter("otelcol_processor_outgoing_items", "Items that a processor passed on", [
    "processor",
    "otel_signal",
  ]);
  readonly processorAccepted = this.#perSignal("otelcol_processor_accepted", "that a processor let through", [
    "processor",
  ]);
  readonly processorRefused = this.#perSignal("otelcol_processor_refused", "that a processor refused for now", [
    "processor",
  ]);
  readonly processorDropped = this.#perSignal("otelcol_processor_dropped", "that a processor dropped", ["processor"]);
  readonly sent = this.#perSignal("otelcol_exporter_sent", "that reached the destination", ["exporter"]);
  readonly sendFailed = this.#perSignal("otelcol_exporter_send_failed", "that the destination refused for good", [
    "exporter",
  ]);
  readonly enqueueFailed = this.#perSignal("otelcol_exporter_enqueue_failed", "dropped because the queue was full", [
    "exporter",
  ]);
  readonly queueCapacity = this.#gauge(
    "otelcol_exporter_queue_capacity",
    "Requests the queue can hold",
    ["exporter", "data_type"],
    "max",
  );

  readonly records = this.#counter("otel_audit_records", "Audit records written to the log", ["exporter"]);
  readonly duplicates = this.#counter(
    "otel_audit_duplicates",
    "Audit records seen before with the same content; acknowledged, not stored again",
    ["exporter"],
  );
  readonly conflicts = this.#counter(
    "otel_audit_conflicts",
    "Audit records stored although their id was seen before with other content",
    ["exporter"],
  );
  readonly refusedRecords = this.#counter(
    "otel_audit_refused_records",
    "Audit records that could not be kept now; the client was told to retry",
    ["exporter"],
  );
  readonly exportFailures = this.#counter(
    "otel_audit_export_failures",
    "Attempts to bring a segment into ClickHouse that failed, by reason",
    ["exporter", "reason"],
  );
  readonly exportDegraded = this.#gauge(
    "otel_audit_export_degraded",
    "1 while segments do not reach ClickHouse, by reason",
    ["exporter", "reason"],
  );
  readonly tableLosses = this.#counter(
    "otel_audit_table_losses",
    "Times that records which had been counted in ClickHouse were there no longer",
    ["exporter"],
  );
  readonly classifiedRecords = this.#counter(
    "otel_audit_classified_records",
    "Audit records derived from foreign spans",
    ["processor"],
  );
  readonly unauthenticatedRequests = this.#counter(
    "otel_audit_unauthenticated_requests",
    "Requests refused for who sent them",
    ["extension", "reason"],
  );
  readonly cutConnections = this.#counter(
    "otel_audit_cut_connections",
    "Connections that were ended to make room for others",
    ["receiver", "transport"],
  );
  readonly mismatchedRecords = this.#counter(
    "otel_audit_mismatched_records",
    "Audit records that their sender's credential does not cover: refused, or stored as asserted",
    ["processor", "credential", "result"],
  );
  readonly rateLimitedRecords = this.#counter(
    "otel_audit_rate_limited_records",
    "Audit records that came too fast; the client was told when to retry",
    ["processor", "credential"],
  );

  constructor(serviceInstanceId: string) {
    this.registry.setDefaultLabels({
      service_instance_id: serviceInstanceId,
      service_name: "otel-audit-collector",
      service_version: VERSION,
    });
    this.observe(
      "otelcol_process_runtime_heap_alloc_bytes",
      "Bytes of heap in use",
      () => process.memoryUsage().heapUsed,
    );
    this.observe(
      "otelcol_process_runtime_total_sys_memory_bytes",
      "Bytes of heap obtained from the system",
      () => process.memoryUsage().heapTotal,
    );
  }

  /** What a process has once, and not each of its threads. */
  observeProcess(): void {
    // The dashboard 15983 finds out by the longer name how labels are written; with the first alone half of it stays empty.
    for (const name of ["otelcol_process_uptime", "otelcol_process_uptime_seconds"])
      this.observe(name, "Seconds since the process started", () => (performance.now() - processStart) / 1000);
    this.observe("otelcol_process_cpu_seconds", "CPU seconds, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    this.observe("otelcol_process_memory_rss", "Resident memory in bytes", () => process.memoryUsage.rss());
    // The default of 10 ms wakes an idle process a hundred times a second.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
  }

  /** A gauge whose value is read when somebody asks for it. `aggregator`: what it is over all threads. */
  observe(
    name: string,
    help: string,
    read: () => number,
    labels: Readonly<Record<string, string>> = {},
    aggregator: Aggregator = "sum",
  ): void {
    const existing = this.registry.getSingleMetric(name);
    const gauge = existing instanceof Gauge ? existing : this.#gauge(name, help, Object.keys(labels), aggregator);
    this.#readers.push(() => gauge.set(labels, read()));
  }

  /** All values as they are now. */
  async snapshot(): Promise<MetricsSnapshot> {
    for (const read of this.#readers) read();
    return this.registry.getMetricsAsJSON();
  }

  /** The exposition format of Prometheus, over the snapshots of all threads. */
  static expose(snapshots: readonly MetricsSnapshot[]): Promise<string> {
    return AggregatorRegistry.aggregate([...snapshots]).metrics();
  }

  /** One counter a signal: otelcol names what is counted in the metric's name, not in a label. */
  #perSignal<Label extends string>(prefix: string, help: string, labels: Label[]): PerSignal<Label> {
    return {
      traces: this.#counter(`${prefix}_spans`, `Spans ${help}`, labels),
      logs: this.#counter(`${prefix}_log_records`, `Log records ${help}`, labels),
      metrics: this.#counter(`${prefix}_metric_points`, `Metric points ${help}`, labels),
    };
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: Label[],
    aggregator: Aggregator = "sum",
  ): Gauge<Label> {
    return new Gauge({ name, help, labelNames, aggregator, registers: [this.registry] });
  }
}
