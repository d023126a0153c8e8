import { scheduler } from "node:timers/promises";
import type { CreateContext, Signal, SignalBatch } from "../component.ts";
import type { Memory } from "../memory.ts";
import type { TraceBatch } from "../trace-batch.ts";
import { LimitedLine } from "../limited-line.ts";
import { within } from "../within.ts";
import { Fifo } from "./fifo.ts";
import type { QueueRoom } from "./queue-room.ts";

const QUEUE_SIZE = "otelcol_exporter_queue_size";
/** Lines about requests that were given up. */
const LINE_EVERY_MS = 1_000;
/** Lines about a destination that does not take requests for now. */
const AWAY_EVERY_MS = 60_000;

interface QueueLimits {
  /** That wait, in all workers together. */
  readonly requests: number;
  readonly bytes: number;
  /** Requests under way at one time, in this worker. */
  readonly consumers: number;
}

/** Requests that go out as one: protobuf messages one behind the other are one request (repeated fields). */
export interface Batching {
  /** So many bytes go out at once; a larger request goes alone. */
  readonly maxBytes: number;
  /** Milliseconds that the first request waits for others. */
  readonly lingerMs: number;
}

/** How one request goes out. */
interface RetryPolicy {
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
  readonly contentType: SignalBatch["contentType"];
}

/** The debug spans of a batch. */
export function debugRequest({ bytes, spans, memory }: TraceBatch): DebugRequest {
  return { bytes, items: spans, memory, contentType: "application/x-protobuf" };
}

/** What goes out as one: the bytes of one request, or of several one behind the other. */
export interface Outgoing {
  readonly parts: readonly Uint8Array[];
  readonly contentType: DebugRequest["contentType"];
}

/** What a destination has refused for good of a request that it has taken. */
export interface PartialSuccess {
  /** Spans, log records or metric points; 0 where it only warns. */
  readonly rejected: number;
  readonly message: string;
}

/** Resolves when the destination has taken the request, all or part of it, and nothing reads its bytes any more. */
export type Send = (request: Outgoing, signal: AbortSignal) => Promise<PartialSuccess | undefined>;

/**
 * A worker's queue of debug telemetry: those of all workers together are bounded in requests and bytes. `put` never waits; a
 * full queue drops its oldest request, counted as `otelcol_exporter_enqueue_failed_spans` (or `_log_records`, `_metric_points`).
 */
export class DebugQueue {
  readonly #items = new Fifo<DebugRequest>();
  /** That wait in this queue. */
  #bytes = 0;
  #sending = 0;
  /** Ends the waiting for more requests; undefined when nobody waits for them. */
  #wake: (() => void) | undefined;
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
  readonly #partial = new LimitedLine(LINE_EVERY_MS);
  readonly #failed = new LimitedLine(AWAY_EVERY_MS);
  /** A line has said that the destination takes nothing. */
  #away = false;
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
    context.telemetry.observe(QUEUE_SIZE, "Requests waiting in the queue", () => this.#items.length, labels);
    // A series that is not there cannot be told from one that nothing has raised yet.
    const { sent, sendFailed, enqueueFailed } = context.telemetry;
    for (const counter of [sent, sendFailed, enqueueFailed]) counter[signal].inc({ exporter: context.id }, 0);
  }

  put(request: DebugRequest): void {
    request.memory?.retain();
    // One that never fits must not push out all the others first.
    if (this.#closing || request.bytes.length > this.#limits.bytes) return this.#drop(request);
    this.#items.push(request);
    this.#bytes += request.bytes.length;
    this.#room.add(1, request.bytes.length);
    // What waits in other workers is not reached from here: when they have all the room, the new one goes.
    while (this.#items.length > 0 && this.#isOver()) this.#drop(this.#shift()!);
    this.#pump();
  }

  /** Waits until the queue is empty and nothing is under way; false after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<boolean> {
    if (this.#isIdle()) return true;
    this.#wake?.();
    const idle = new Promise<true>((resolve) => this.#idle.push(() => resolve(true)));
    return within(timeoutMs, idle, false);
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
    if (item) {
      this.#bytes -= item.bytes.length;
      this.#room.add(-1, -item.bytes.length);
    }
    return item;
  }

  #drop(request: DebugRequest): void {
    this.#context.telemetry.enqueueFailed[this.#signal].inc({ exporter: this.#context.id }, request.items);
    request.memory?.release();
  }

  #pump(): void {
    if (this.#batching && this.#bytes >= this.#batching.maxBytes) this.#wake?.();
    while (this.#sending < this.#limits.consumers && this.#items.length > 0 && !this.#wake) {
      this.#sending++;
      void this.#deliverNext().finally(() => {
        this.#sending--;
        this.#pump();
        if (this.#isIdle()) for (const resolve of this.#idle.splice(0)) resolve();
      });
    }
  }

  async #deliverNext(): Promise<void> {
    if (this.#batching && !this.#closing && this.#bytes < this.#batching.maxBytes) await this.#linger(this.#batching);
    const requests = this.#take();
    const delivered = requests.length > 0 && this.#deliver(requests);
    // What is left waits for others from now on.
    this.#pump();
    await delivered;
  }

  async #linger({ lingerMs }: Batching): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const late = setTimeout(resolve, lingerMs);
    await promise;
    clearTimeout(late);
    this.#wake = undefined;
  }

  /** What goes out next; nothing when the queue was emptied in the meantime. */
  #take(): DebugRequest[] {
    const items: DebugRequest[] = [];
    const maxBytes = this.#batching?.maxBytes ?? 0;
    let bytes = 0;
    for (let next = this.#items.peek(); next; next = this.#items.peek()) {
      bytes += next.bytes.length;
      // JSON cannot be laid one behind the other.
      const mixed = next.contentType === "application/json" || items[0]?.contentType === "application/json";
      if (items.length > 0 && (mixed || bytes > maxBytes)) break;
      items.push(this.#shift()!);
    }
    return items;
  }

  /** Sends them as one, until they were taken or have to be given up. */
  async #deliver(requests: readonly DebugRequest[]): Promise<void> {
    const { telemetry, id, log } = this.#context;
    const outgoing = { parts: requests.map(({ bytes }) => bytes), contentType: requests[0]!.contentType };
    const items = requests.reduce((sum, request) => sum + request.items, 0);
    const started = performance.now();
    for (let backoff = this.#retry.initialMs; ; backoff = Math.min(backoff * 2, this.#retry.maxMs)) {
      let wait = backoff * (0.5 + Math.random() / 2);
      try {
        const partial = await this.#send(outgoing, this.#abort.signal);
        this.#countTaken(items, partial);
        if (this.#away) log.info({ signal: this.#signal }, "debug requests are taken again");
        this.#away = false;
        for (const { memory } of requests) memory?.release();
        return;
      } catch (error) {
        const refused = error instanceof PermanentError;
        if (refused && requests.length > 1) {
          // One of them, or all together, are too much; the others are not to go with it.
          for (const request of requests) await this.#deliver([request]);
          return;
        }
        if (error instanceof RetryLater) wait = Math.max(wait, error.afterMs);
        const over = performance.now() - started + wait > this.#retry.maxElapsedMs;
        if (refused || over || this.#abort.signal.aborted) {
          telemetry.sendFailed[this.#signal].inc({ exporter: id }, items);
          const lost = this.#givenUp.due();
          if (lost > 0) log.warn({ err: error, signal: this.#signal, requests: lost }, "debug requests were given up");
          // It may still stand in a socket that is being closed.
          for (const { memory } of requests) memory?.discard();
          return;
        }
        this.#tellAway(error);
      }
      await scheduler.wait(wait, { signal: this.#abort.signal }).catch(() => {});
    }
  }

  #countTaken(items: number, partial: PartialSuccess | undefined): void {
    const { telemetry, id, log } = this.#context;
    // A destination may say anything.
    const rejected = Math.min(items, partial?.rejected ?? 0);
    telemetry.sent[this.#signal].inc({ exporter: id }, items - rejected);
    if (!partial) return;
    telemetry.sendFailed[this.#signal].inc({ exporter: id }, rejected);
    const requests = this.#partial.due();
    if (requests > 0)
      log.warn({ signal: this.#signal, ...partial, requests }, "debug requests were taken in part, or with a warning");
  }

  /** They are tried for minutes before one is given up. */
  #tellAway(error: unknown): void {
    const attempts = this.#failed.due();
    if (attempts === 0) return;
    this.#away = true;
    this.#context.log.warn(
      { err: error, signal: this.#signal, attempts },
      "debug requests are not taken; they are tried again",
    );
  }
}
