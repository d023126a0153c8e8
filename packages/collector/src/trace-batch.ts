import type { CollectorFacts } from "@otel-audit/ledger";
import { scanTraces, type SpanIndex } from "@otel-audit/otlp";
import type { Principal } from "./auth.ts";
import type { Memory } from "./memory.ts";

/** One export request on its way: the bytes that arrived, or a part of them. Nothing is decoded until someone asks. */
export class TraceBatch {
  /** An ExportTraceServiceRequest, valid until the promise of `consume` settles; for longer, hold `memory` or copy. */
  readonly bytes: Uint8Array;
  /** How many spans are in it. */
  readonly spans: number;
  /** What the bytes lie in, when they are used again afterwards; absent: they stay what they are. */
  readonly memory: Memory | undefined;
  /** What the collector knows about the sender; set by the audit processor. */
  readonly facts: CollectorFacts | undefined;
  /** Whose credential the request came with; set by the receiver where it has an authenticator. */
  readonly principal: Principal | undefined;
  #index: SpanIndex | undefined;

  private constructor(
    bytes: Uint8Array,
    spans: number,
    index: SpanIndex | undefined,
    memory: Memory | undefined,
    facts: CollectorFacts | undefined,
    principal: Principal | undefined,
  ) {
    this.bytes = bytes;
    this.spans = spans;
    this.#index = index;
    this.memory = memory;
    this.facts = facts;
    this.principal = principal;
  }

  /** A request that was scanned. */
  static of(
    index: SpanIndex,
    options: { memory?: Memory; facts?: CollectorFacts; principal?: Principal | undefined } = {},
  ): TraceBatch {
    return new TraceBatch(index.bytes, index.count, index, options.memory, options.facts, options.principal);
  }

  /** A request of which only the number of spans is known so far. */
  static unscanned(bytes: Uint8Array, spans: number, memory: Memory): TraceBatch {
    return new TraceBatch(bytes, spans, undefined, memory, undefined, undefined);
  }

  /** Where the spans lie. Valid until the promise of `consume` settles: it is used for other requests then. */
  get index(): SpanIndex {
    return (this.#index ??= scanTraces(this.bytes));
  }

  withFacts(facts: CollectorFacts): TraceBatch {
    return new TraceBatch(this.bytes, this.spans, this.#index, this.memory, facts, this.principal);
  }
}
