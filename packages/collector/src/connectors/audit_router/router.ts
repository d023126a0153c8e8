import { SPAN_AUDIT, SPAN_MALFORMED, scanTraces, sliceSpans } from "@otel-audit/otlp";
import type { Component, Consumer, CreateContext, Rejection, TraceBatch } from "../../component.ts";
import type { AuditRouterConfig } from "./config.ts";

/**
 * Splits a request: audit spans one way, debug spans the other, as slices of the bytes that came. The debug side never
 * delays or fails the audit side: its pipelines take over at once or drop and count.
 */
export class AuditRouter implements Component, Consumer {
  readonly #audit: readonly Consumer[];
  readonly #debug: readonly Consumer[];
  readonly #context: CreateContext;

  constructor(config: AuditRouterConfig, next: ReadonlyMap<string, Consumer>, context: CreateContext) {
    this.#audit = config.audit.map((name) => next.get(name)!);
    this.#debug = config.debug.map((name) => next.get(name)!);
    this.#context = context;
  }

  async start(): Promise<void> {}

  async shutdown(): Promise<void> {}

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    const { index } = batch;
    const rejections: Rejection[] = [];
    if (index.malformedCount > 0) {
      rejections.push({
        spans: index.malformedCount,
        reason: "malformed span (broken fields, a repeated singular field, or an id of the wrong length)",
      });
    }
    if (index.auditCount > 0) {
      for (const taken of await Promise.all(this.#audit.map((consumer) => consumer.consume(batch))))
        rejections.push(...taken);
    }
    // Only now: a request that the audit side refused comes again, whole, and its debug spans would be doubled.
    if (this.#debug.length > 0 && index.count > index.auditCount + index.malformedCount)
      await this.#forwardDebug(batch);
    return rejections;
  }

  async #forwardDebug({ index }: TraceBatch): Promise<void> {
    const bytes = sliceSpans(index, SPAN_AUDIT | SPAN_MALFORMED);
    if (bytes.length === 0) return;
    const debug = bytes === index.bytes ? index : scanTraces(bytes);
    for (const consumer of this.#debug) {
      try {
        await consumer.consume({ index: debug });
      } catch (error) {
        this.#context.log.warn({ err: error }, "debug spans were not taken");
      }
    }
  }
}
