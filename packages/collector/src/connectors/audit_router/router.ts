import { SPAN_AUDIT, SPAN_MALFORMED, sliceSpans, type SpanIndex } from "@otel-audit/otlp";
import type { Component, Consumer, CreateContext, Rejection } from "../../component.ts";
import { consumeAll } from "../../consume-all.ts";
import { TraceBatch } from "../../trace-batch.ts";
import type { AuditRouterConfig } from "./config.ts";

/** What is not forwarded: a backend refuses a whole request for one malformed span. */
const DROPPED = SPAN_AUDIT | SPAN_MALFORMED;
/** What re-framing may add to a ResourceSpans or ScopeSpans: its length padded to five bytes. */
const PADDED_FRAME_BYTES = 6;

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
        reason:
          "malformed span (broken fields, a repeated singular field, an id of the wrong length, or more than 131,072 attributes)",
      });
    }
    if (index.auditCount > 0) {
      rejections.push(...(await consumeAll(this.#audit, batch)));
    }
    // Only now: a request that the audit side refused comes again, whole, and its debug spans would be doubled.
    if (this.#debug.length > 0) await this.#forwardDebug(batch);
    return rejections;
  }

  async #forwardDebug(batch: TraceBatch): Promise<void> {
    const { index } = batch;
    const dropped = countOf(index, DROPPED);
    if (dropped === index.count) return;
    if (dropped === 0 && !index.brokenWithoutSpan) return this.#toDebug(batch);
    const memory = this.#context.memory.take(
      index.bytes.length + (index.resourceCount + index.scopeCount) * PADDED_FRAME_BYTES,
    );
    const bytes = sliceSpans(index, DROPPED, memory.buffer);
    await this.#toDebug(TraceBatch.unscanned(bytes, index.count - dropped, memory));
    memory.release();
  }

  async #toDebug(batch: TraceBatch): Promise<void> {
    for (const consumer of this.#debug) {
      try {
        await consumer.consume(batch);
      } catch (error) {
        this.#context.log.warn({ err: error }, "debug spans were not taken");
      }
    }
  }
}

function countOf(index: SpanIndex, flags: number): number {
  let count = 0;
  for (let i = 0; i < index.count; i++) if ((index.flags[i]! & flags) !== 0) count++;
  return count;
}
