import type {
  Component,
  Consumer,
  CreateContext,
  Rejection,
  Signal,
  SignalBatch,
  SignalConsumer,
} from "../../component.ts";
import { signalItems } from "../../signal-items.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import type { MemoryLimiterConfig } from "./config.ts";
import { Limiter } from "./limiter.ts";

/** Refuses what comes, retryable, while the process uses more memory than it may. */
class MemoryLimiter<Next> implements Component {
  protected readonly next: Next;
  readonly #limiter: Limiter;
  readonly #context: CreateContext;
  #started = false;

  constructor(config: MemoryLimiterConfig, next: Next, context: CreateContext) {
    this.next = next;
    this.#context = context;
    this.#limiter = Limiter.of(config, context);
  }

  async start(): Promise<void> {
    if (!this.#started) this.#limiter.start();
    this.#started = true;
  }

  async shutdown(): Promise<void> {
    if (this.#started) this.#limiter.stop();
    this.#started = false;
  }

  /** @throws CollectorError `UNAVAILABLE` when the items are refused */
  protected admit(signal: Signal, items: number): void {
    const { telemetry, id } = this.#context;
    const labels = { processor: id };
    telemetry.incomingItems.inc({ ...labels, otel_signal: signal }, items);
    // A series that is not there cannot be told from one that nothing has raised yet.
    telemetry.processorRefused[signal].inc(labels, this.#limiter.refusing ? items : 0);
    telemetry.processorDropped[signal].inc(labels, 0);
    this.#limiter.admit();
    telemetry.processorAccepted[signal].inc(labels, items);
    telemetry.outgoingItems.inc({ ...labels, otel_signal: signal }, items);
  }
}

export class TracesMemoryLimiter extends MemoryLimiter<Consumer> implements Consumer {
  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    this.admit("traces", batch.spans);
    return this.next.consume(batch);
  }
}

export class SignalMemoryLimiter extends MemoryLimiter<SignalConsumer> implements SignalConsumer {
  async forward(batch: SignalBatch): Promise<void> {
    this.admit(batch.signal, signalItems(batch));
    return this.next.forward(batch);
  }
}
