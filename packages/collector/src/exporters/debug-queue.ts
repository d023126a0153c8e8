import { scheduler } from "node:timers/promises";
import type { CreateContext, Signal } from "../component.ts";
import type { Memory } from "../memory.ts";
import type { TraceBatch } from "../trace-batch.ts";
import { LimitedLine } from "../limited-line.ts";
import { Fifo } from "./fifo.ts";
import type { QueueRoom } from "./queue-room.ts";

/** Lines about requests that were given up. */
const LINE_EVERY_MS = 1_000;

export interface QueueLimits {
  /** That wait, in all workers together. */
  readonly requests: number;
  readonly bytes: number;
  /** Requests under way at one time, in this worker. */
  readonly consumers: number;
}

/** Requests that go out as one: laid one behind the other they are one request (repeated fields). */
export interface Batching {
  readonly maxBytes: number;
  /** Milliseconds that the first request waits for others. */
  readonly lingerMs: number;
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

/** The destination said that it may be asked again, and not sooner than this. */
export class RetryLater extends Error {
  override readonly name = "RetryLater";
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.afterMs = afterMs;
  }
}

/** An export request of any signal. */
export interface DebugRequest {
  readonly bytes: Uint8Array;
  /** Spans, log records or metric points in it. */
  readonly items: number;
  /** Held for as long as the request is in the queue or under way. */
  readonly memory: Memory | undefined;
  readonly contentType: "application/x-protobuf" | "application/json";
}

/** The debug spans of a batch. */
export function debugRequest({ bytes, spans, memory }: TraceBatch): DebugRequest {
  return { bytes, items: spans, memory, contentType: "application/x-protobuf" };
}

/** Resolves when the destination has taken the request and nothing reads its bytes any more. */
export type Send = (request: Pick<DebugRequest, "bytes" | "contentType">, signal: AbortSignal) => Promise<void>;

/**
 * A worker's queue of debug telemetry: all of them together are bounded in requests and bytes. `put` never waits; a full queue drops its oldest request,
 * counted as `otelcol_exporter_enqueue_failed_spans` (or `_log_records`, `_metric_points`).
 */
export class DebugQueue {
  readonly #items = new Fifo<DebugRequest>();
  #sending = 0;
  #closing = false;
  readonly #abort = new AbortController();
  readonly #limits: QueueLimits;
  readonly #room: QueueRoom;
  readonly #retry: RetryPolicy;
  readonly #send: Send;
  readonly #context: CreateContext;
  readonly #signal: Signal;
  readonly #batching: Batching | undefined;
  readonly #givenUp = new LimitedLine(LINE_EVERY_MS);
  #idle: (() => void)[] = [];

  constructor(
    limits: QueueLimits,
    room: QueueRoom,
    retry: RetryPolicy,
    context: CreateContext,
    signal: Signal,
    send: Send,
    batching?: Batching,
  ) {
    this.#limits = limits;
    this.#room = room;
    this.#retry = retry;
    this.#send = send;
    this.#signal = signal;
    this.#context = context;
    this.#batching = batching;
    const labels = { exporter: context.id, data_type: signal };
    context.telemetry.queueCapacity.set(labels, limits.requests);
    context.telemetry.queueSize.set(labels, 0);
    // A series that is not there cannot be told from one that nothing has raised yet.
    const { sent, sendFailed, enqueueFailed } = context.telemetry;
    for (const counter of [sent, sendFailed, enqueueFailed]) counter[signal].inc({ exporter: context.id }, 0);
  }

  put(request: DebugRequest): void {
    request.memory?.retain();
    // One that never fits must not push out all the others first.
    if (this.#closing || request.bytes.length > this.#limits.bytes) return this.#drop(request);
    this.#items.push(request);
    this.#room.add(1, request.bytes.length);
    // What waits in other workers is not reached from here: when they have all the room, the new one goes.
    while (this.#items.length > 0 && this.#isOver()) this.#drop(this.#shift()!);
    this.#pump();
  }

  /** Waits until the queue is empty and nothing is under way; false after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<boolean> {
    if (this.#isIdle()) return true;
    const idle = new Promise<true>((resolve) => this.#idle.push(() => resolve(true)));
    const over = new AbortController();
    const late = scheduler.wait(timeoutMs, { signal: over.signal }).then(() => false);
    try {
      return await Promise.race([idle, late]);
    } finally {
      late.catch(() => {});
      over.abort();
    }
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

  #isOver(): boolean {
    return this.#room.requests > this.#limits.requests || this.#room.bytes > this.#limits.bytes;
  }

  #shift(): DebugRequest | undefined {
    const item = this.#items.shift();
    if (item) this.#room.add(-1, -item.bytes.length);
    return item;
  }

  #drop(request: DebugRequest): void {
    this.#context.telemetry.enqueueFailed[this.#signal].inc({ exporter: this.#context.id }, request.items);
    request.memory?.release();
  }

  #pump(): void {
    while (this.#sending < this.#limits.consumers && this.#items.length > 0) {
      this.#sending++;
      void this.#deliverNext().finally(() => {
        this.#sending--;
        this.#pump();
        if (this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
      });
    }
    this.#context.telemetry.queueSize.set({ exporter: this.#context.id, data_type: this.#signal }, this.#items.length);
  }

  async #deliverNext(): Promise<void> {
    if (this.#batching && !this.#closing) {
      await scheduler.wait(this.#batching.lingerMs, { signal: this.#abort.signal }).catch(() => {});
    }
    const items: DebugRequest[] = [];
    let bytes = 0;
    do {
      const item = this.#shift();
      // While it lingered the queue may have been emptied.
      if (!item) break;
      items.push(item);
      bytes += item.bytes.length;
    } while (this.#batching && bytes + (this.#items.peek()?.bytes.length ?? 0) <= this.#batching.maxBytes);
    if (items.length === 0) return;
    const [first] = items;
    const request: DebugRequest = {
      ...first!,
      items: items.reduce((sum, item) => sum + item.items, 0),
      bytes: items.length === 1 ? first!.bytes : Buffer.concat(items.map((item) => item.bytes)),
    };
    const delivered = await this.#deliver(request);
    // What was given up may still stand in a socket that is being closed.
    for (const { memory } of items) {
      if (delivered) memory?.release();
      else memory?.discard();
    }
  }

  /** False when it was given up. */
  async #deliver(request: DebugRequest): Promise<boolean> {
    const { telemetry, id, log } = this.#context;
    const started = performance.now();
    for (let backoff = this.#retry.initialMs; ; backoff = Math.min(backoff * 2, this.#retry.maxMs)) {
      let wait = backoff * (0.5 + Math.random() / 2);
      try {
        await this.#send(request, this.#abort.signal);
        telemetry.sent[this.#signal].inc({ exporter: id }, request.items);
        return true;
      } catch (error) {
        if (error instanceof RetryLater) wait = Math.max(wait, error.afterMs);
        const over = performance.now() - started + wait > this.#retry.maxElapsedMs;
        if (error instanceof PermanentError || over || this.#abort.signal.aborted) {
          telemetry.sendFailed[this.#signal].inc({ exporter: id }, request.items);
          const requests = this.#givenUp.due();
          if (requests > 0) log.warn({ err: error, signal: this.#signal, requests }, "debug requests were given up");
          return false;
        }
      }
      await scheduler.wait(wait, { signal: this.#abort.signal }).catch(() => {});
    }
  }
}
