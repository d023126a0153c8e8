import { scheduler } from "node:timers/promises";
import type { CreateContext, TraceBatch } from "../component.ts";

export interface QueueLimits {
  readonly requests: number;
  readonly bytes: number;
  readonly consumers: number;
}

/** How one request goes out. */
export interface RetryPolicy {
  readonly initialMs: number;
  readonly maxMs: number;
  readonly maxElapsedMs: number;
}

/** The destination said that it will never take this request. */
export class PermanentError extends Error {
  override readonly name = "PermanentError";
}

interface Item {
  readonly bytes: Uint8Array;
  readonly spans: number;
}

/**
 * The queue of debug telemetry: bounded in requests and bytes. `put` never waits; a full queue drops its oldest request,
 * counted as `otelcol_exporter_enqueue_failed_spans`.
 */
export class DebugQueue {
  readonly #items: Item[] = [];
  #bytes = 0;
  #sending = 0;
  #closing = false;
  readonly #abort = new AbortController();
  readonly #limits: QueueLimits;
  readonly #retry: RetryPolicy;
  readonly #send: (bytes: Uint8Array, signal: AbortSignal) => Promise<void>;
  readonly #context: CreateContext;
  #idle: (() => void)[] = [];

  constructor(
    limits: QueueLimits,
    retry: RetryPolicy,
    context: CreateContext,
    send: (bytes: Uint8Array, signal: AbortSignal) => Promise<void>,
  ) {
    this.#limits = limits;
    this.#retry = retry;
    this.#send = send;
    this.#context = context;
    const labels = { exporter: context.id, data_type: "traces" };
    context.telemetry.queueCapacity.set(labels, limits.requests);
    context.telemetry.queueSize.set(labels, 0);
  }

  put({ index }: TraceBatch): void {
    if (this.#closing) return this.#drop({ bytes: index.bytes, spans: index.count });
    this.#items.push({ bytes: index.bytes, spans: index.count });
    this.#bytes += index.bytes.length;
    while (this.#items.length > this.#limits.requests || this.#bytes > this.#limits.bytes) this.#drop(this.#shift()!);
    this.#pump();
  }

  /** Waits until the queue is empty; false after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<boolean> {
    if (this.#isIdle()) return true;
    const idle = new Promise<true>((resolve) => this.#idle.push(() => resolve(true)));
    return Promise.race([idle, scheduler.wait(timeoutMs, { ref: false }).then(() => false)]);
  }

  /** Sends what waits for at most `graceMs`, then gives up and counts the rest as dropped. */
  async close(graceMs = 5_000): Promise<void> {
    this.#closing = true;
    if (await this.drain(graceMs)) return;
    this.#abort.abort();
    for (let item = this.#shift(); item; item = this.#shift()) this.#drop(item);
    await this.drain(graceMs);
  }

  #isIdle(): boolean {
    return this.#items.length === 0 && this.#sending === 0;
  }

  #shift(): Item | undefined {
    const item = this.#items.shift();
    if (item) this.#bytes -= item.bytes.length;
    return item;
  }

  #drop(item: Item): void {
    this.#context.telemetry.enqueueFailedSpans.inc({ exporter: this.#context.id }, item.spans);
  }

  #pump(): void {
    while (this.#sending < this.#limits.consumers && this.#items.length > 0) {
      this.#sending++;
      void this.#deliver(this.#shift()!).finally(() => {
        this.#sending--;
        this.#pump();
        if (this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
      });
    }
    this.#context.telemetry.queueSize.set({ exporter: this.#context.id, data_type: "traces" }, this.#items.length);
  }

  async #deliver(item: Item): Promise<void> {
    const { telemetry, id, log } = this.#context;
    const started = performance.now();
    for (let wait = this.#retry.initialMs; ; wait = Math.min(wait * 2, this.#retry.maxMs)) {
      try {
        await this.#send(item.bytes, this.#abort.signal);
        telemetry.sentSpans.inc({ exporter: id }, item.spans);
        return;
      } catch (error) {
        const over = performance.now() - started + wait > this.#retry.maxElapsedMs;
        if (error instanceof PermanentError || over || this.#abort.signal.aborted) {
          telemetry.sendFailedSpans.inc({ exporter: id }, item.spans);
          log.warn({ err: error, spans: item.spans }, "debug spans were given up");
          return;
        }
      }
      await scheduler.wait(wait * (0.5 + Math.random() / 2), { signal: this.#abort.signal }).catch(() => {});
    }
  }
}
