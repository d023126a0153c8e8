import { Counter, Gauge, Registry, collectDefaultMetrics } from "prom-client";
import { VERSION } from "./version.ts";

/** Milliseconds since the process started are its uptime; CPU time counts from there too. */
const processStart = performance.now();

/**
 * The collector's own metrics: otelcol's names and labels where it has them (so that its dashboards work), ours with the
 * prefix `otel_audit_`. No `_total`, no unit suffix, as otelcol writes them.
 */
export class Telemetry {
  readonly registry = new Registry();

  readonly acceptedSpans = this.counter("otelcol_receiver_accepted_spans", "Spans accepted", ["receiver", "transport"]);
  readonly refusedSpans = this.counter(
    "otelcol_receiver_refused_spans",
    "Spans refused that the client may send again",
    ["receiver", "transport"],
  );
  readonly failedSpans = this.counter("otelcol_receiver_failed_spans", "Spans that can never be accepted", [
    "receiver",
    "transport",
  ]);
  readonly incomingItems = this.counter("otelcol_processor_incoming_items", "Spans given to a processor", [
    "processor",
    "otel_signal",
  ]);
  readonly outgoingItems = this.counter("otelcol_processor_outgoing_items", "Spans that a processor passed on", [
    "processor",
    "otel_signal",
  ]);
  readonly sentSpans = this.counter("otelcol_exporter_sent_spans", "Spans that reached the destination", ["exporter"]);
  readonly sendFailedSpans = this.counter(
    "otelcol_exporter_send_failed_spans",
    "Spans that the destination refused for good",
    ["exporter"],
  );
  readonly enqueueFailedSpans = this.counter(
    "otelcol_exporter_enqueue_failed_spans",
    "Spans dropped because the queue was full",
    ["exporter"],
  );
  readonly queueSize = this.gauge("otelcol_exporter_queue_size", "Requests waiting in the queue", [
    "exporter",
    "data_type",
  ]);
  readonly queueCapacity = this.gauge("otelcol_exporter_queue_capacity", "Requests the queue can hold", [
    "exporter",
    "data_type",
  ]);

  readonly records = this.counter("otel_audit_records", "Audit records written to the log", ["exporter"]);
  readonly duplicates = this.counter(
    "otel_audit_duplicates",
    "Audit records seen before with the same content; acknowledged, not stored again",
    ["exporter"],
  );
  readonly conflicts = this.counter(
    "otel_audit_conflicts",
    "Audit records stored although their id was seen before with other content",
    ["exporter"],
  );
  readonly refusedRecords = this.counter(
    "otel_audit_refused_records",
    "Audit records that could not be kept now; the client was told to retry",
    ["exporter"],
  );
  readonly classifiedRecords = this.counter(
    "otel_audit_classified_records",
    "Audit records derived from foreign spans",
    ["processor"],
  );

  constructor(serviceInstanceId: string) {
    this.registry.setDefaultLabels({
      service_instance_id: serviceInstanceId,
      service_name: "otel-audit-collector",
      service_version: VERSION,
    });
    this.observe(
      "otelcol_process_uptime",
      "Seconds since the process started",
      () => (performance.now() - processStart) / 1000,
    );
    this.observe("otelcol_process_cpu_seconds", "CPU seconds, user and system", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
    this.observe("otelcol_process_memory_rss", "Resident memory in bytes", () => process.memoryUsage.rss());
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
    collectDefaultMetrics({ register: this.registry });
  }

  /** A gauge whose value is read when somebody asks for it. */
  observe(name: string, help: string, read: () => number, labels: Readonly<Record<string, string>> = {}): void {
    const existing = this.registry.getSingleMetric(name);
    const gauge = existing instanceof Gauge ? existing : this.gauge(name, help, Object.keys(labels));
    this.#readers.push(() => gauge.set(labels, read()));
  }

  /** The exposition format of Prometheus. */
  async expose(): Promise<string> {
    for (const read of this.#readers) read();
    return this.registry.metrics();
  }

  readonly #readers: (() => void)[] = [];

  private counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  private gauge<Label extends string>(name: string, help: string, labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}
