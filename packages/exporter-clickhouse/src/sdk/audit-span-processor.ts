import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace";
import { isAuditSpan } from "./audit-routing-exporter.ts";
import type { AuditRoutingExporter } from "./audit-routing-exporter.ts";

/**
 * Brings every audit span to the exporter the moment it ends, past queues that drop. Other spans are ignored: they have
 * their own processor. A span that also comes through that one is recognised and stored once.
 */
export class AuditSpanProcessor implements SpanProcessor {
  readonly #exporter: AuditRoutingExporter;

  /** @param exporter the processor shuts down its audit part only: other processors may still need its delegate. */
  constructor(exporter: AuditRoutingExporter) {
    this.#exporter = exporter;
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    // A failure is kept for forceFlush: nobody stands behind this call who could be told.
    if (isAuditSpan(span)) this.#exporter.record([span]).catch(() => undefined);
  }

  /**
   * Resolves when every audit span that has ended is on disk.
   *
   * @throws the first failure since the last call; those spans are lost.
   */
  async forceFlush(): Promise<void> {
    await this.#exporter.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.#exporter.shutdownAudit();
  }
}
