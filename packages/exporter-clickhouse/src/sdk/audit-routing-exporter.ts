import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import { ATTR_AUDIT_ACTION } from "@otel-audit/semantic-conventions";
import type { ClickHouseConnection } from "../connection.ts";
import { ClickHouseError } from "../errors.ts";
import type { ShipperState } from "../segment-shipper.ts";
import { AuditSink } from "./audit-sink.ts";

/** What an {@link AuditRoutingExporter} does with spans. */
export interface AuditRoutingExporterOptions {
  /** Where audit records go. Default `embedded`: ClickHouse itself in a child process, data below `dataDir`. */
  readonly clickhouse?: ClickHouseConnection | "embedded";
  /** Folder of the log and of the embedded engine's data. One process at a time. Created when missing. */
  readonly dataDir: string;
  /** Takes all spans that are not audit records. Default: they go nowhere. */
  readonly delegate?: SpanExporter;
  /** Called when records begin or cease to reach the table. They are safe on disk either way. */
  readonly onState?: (state: ShipperState) => void;
  /** Audit spans that may wait for the disk. More are refused. Default 100,000; 1 to 10,000,000. */
  readonly maxPendingSpans?: number;
  /** How long `shutdown` tries to bring records to the table, in milliseconds. Default 10,000. */
  readonly shutdownTimeoutMs?: number;
}

type ExportCallback = Parameters<SpanExporter["export"]>[1];
type ExportCode = Parameters<ExportCallback>[0]["code"];

/** `ExportResultCode` of `@opentelemetry/core`, which is not worth a dependency. */
const SUCCESS: ExportCode = 0;
const FAILED: ExportCode = 1;

/**
 * A span exporter that brings audit records into ClickHouse without a collector and hands all other spans on.
 *
 * It runs the collector's pipeline in this process. Nobody vouches for who the process is: its records stay `asserted`.
 * Behind a BatchSpanProcessor audit spans are sampled and, under load, dropped before this exporter sees them; add an
 * {@link AuditSpanProcessor} of the same exporter against that.
 */
export class AuditRoutingExporter implements SpanExporter {
  readonly #delegate: SpanExporter | undefined;
  readonly #sink: AuditSink;
  readonly #shutdownTimeoutMs: number;
  /** Audit spans that an AuditSpanProcessor brought already: a batch processor of the same provider has them too. */
  readonly #recorded = new WeakSet<ReadableSpan>();

  constructor(options: AuditRoutingExporterOptions) {
    const maxPendingSpans = options.maxPendingSpans ?? 100_000;
    if (!(maxPendingSpans >= 1 && maxPendingSpans <= 10_000_000)) {
      throw new ClickHouseError("INVALID_OPTION", `maxPendingSpans ${maxPendingSpans}: 1 to 10000000 are allowed`);
    }
    this.#delegate = options.delegate;
    this.#shutdownTimeoutMs = options.shutdownTimeoutMs ?? 10_000;
    this.#sink = new AuditSink({
      clickhouse: options.clickhouse ?? "embedded",
      dataDir: options.dataDir,
      onState: options.onState,
      maxPendingSpans,
    });
  }

  /** Reports success when the audit spans are on disk and the delegate has taken the others. */
  export(spans: ReadableSpan[], resultCallback: ExportCallback): void {
    const audit = spans.filter(isAuditSpan);
    const others = audit.length === 0 ? spans : spans.filter((span) => !isAuditSpan(span));
    Promise.all([this.#exportAudit(audit), this.#delegateExport(others)]).then(
      () => resultCallback({ code: SUCCESS }),
      (cause: unknown) => {
        resultCallback({ code: FAILED, error: cause instanceof Error ? cause : new Error(String(cause)) });
      },
    );
  }

  /**
   * Takes audit spans past the SDK's batching.
   *
   * @returns resolves when they are on disk.
   */
  async record(spans: readonly ReadableSpan[]): Promise<void> {
    for (const span of spans) this.#recorded.add(span);
    try {
      await this.#sink.add(spans);
    } catch (error) {
      for (const span of spans) this.#recorded.delete(span);
      throw error;
    }
  }

  /** Resolves only when all audit spans are on disk, and rejects when one cannot be. Reaching the table may come later. */
  async forceFlush(): Promise<void> {
    await Promise.all([this.#sink.flush(), this.#delegate?.forceFlush?.()]);
  }

  async shutdown(): Promise<void> {
    await Promise.all([this.shutdownAudit(), this.#delegate?.shutdown()]);
  }

  /** Shuts down the way of the audit spans only; a batch processor may still have spans for the delegate. */
  async shutdownAudit(): Promise<void> {
    await this.#sink.close(this.#shutdownTimeoutMs);
  }

  async #exportAudit(audit: readonly ReadableSpan[]): Promise<void> {
    const fresh = audit.filter((span) => !this.#recorded.has(span));
    if (fresh.length > 0) await this.record(fresh);
    if (fresh.length < audit.length) await this.#sink.settled();
  }

  async #delegateExport(spans: ReadableSpan[]): Promise<void> {
    const delegate = this.#delegate;
    if (delegate === undefined || spans.length === 0) return;
    await new Promise<void>((resolve, reject) => {
      delegate.export(spans, (result) => {
        if (result.code === SUCCESS) resolve();
        else reject(result.error ?? new ClickHouseError("SERVER", "the delegate exporter failed without an error"));
      });
    });
  }
}

/** A span is an audit record if and only if it says what was done. */
export function isAuditSpan(span: ReadableSpan): boolean {
  return span.attributes[ATTR_AUDIT_ACTION] !== undefined;
}
