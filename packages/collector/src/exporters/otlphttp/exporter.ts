import {
  SIGNALS,
  type CreateContext,
  type Exporter,
  type Rejection,
  type Signal,
  type SignalBatch,
} from "../../component.ts";
import { signalItems } from "../../signal-items.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { ClientTls } from "../client-tls.ts";
import { debugRequest } from "../debug-queue.ts";
import { QueueRoom } from "../queue-room.ts";
import type { OtlphttpConfig } from "./config.ts";
import { SignalSender } from "./sender.ts";

/** Forwards requests to an OTLP/HTTP backend as the very bytes that came, or as slices of them. */
export class OtlphttpExporter implements Exporter {
  readonly #senders = new Map<Signal, SignalSender>();
  readonly #rooms: ReadonlyMap<Signal, QueueRoom>;
  readonly #tls: ClientTls | undefined;
  readonly #config: OtlphttpConfig;
  readonly #context: CreateContext;

  constructor(config: OtlphttpConfig, context: CreateContext) {
    this.#config = config;
    this.#context = context;
    this.#tls = config.tls && new ClientTls(`exporters::${context.id}::tls`, config.tls, context);
    this.#rooms = new Map(SIGNALS.map((signal) => [signal, new QueueRoom(signal, context)]));
  }

  async start(): Promise<void> {}

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    this.#sender("traces").put(debugRequest(batch));
    return [];
  }

  async forward(batch: SignalBatch): Promise<void> {
    const { signal, bytes, contentType, memory } = batch;
    this.#sender(signal).put({ bytes, items: signalItems(batch), memory, contentType });
  }

  async drain(timeoutMs: number): Promise<boolean> {
    const drained = await Promise.all([...this.#senders.values()].map((sender) => sender.drain(timeoutMs)));
    return drained.every(Boolean);
  }

  async shutdown(): Promise<void> {
    await Promise.all([...this.#senders.values()].map((sender) => sender.close()));
  }

  /** A queue and connections for each signal that comes: a backend that refuses one must not hold up another. */
  #sender(signal: Signal): SignalSender {
    const existing = this.#senders.get(signal);
    if (existing) return existing;
    const room = this.#rooms.get(signal)!;
    const sender = new SignalSender(signal, this.#config, room, this.#context, this.#tls);
    this.#senders.set(signal, sender);
    return sender;
  }
}
