import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { CreateContext, Exporter, Rejection, TraceBatch } from "../../component.ts";
import { DebugQueue, PermanentError } from "../debug-queue.ts";
import type { OtlphttpConfig } from "./config.ts";

const gzipAsync = promisify<Uint8Array, Buffer>(gzip);

/** The only HTTP statuses that an OTLP client may retry (OTLP specification, "OTLP/HTTP Response"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** Forwards requests to an OTLP/HTTP backend as the very bytes that came, or as slices of them. */
export class OtlphttpExporter implements Exporter {
  readonly #queue: DebugQueue;
  readonly #config: OtlphttpConfig;
  readonly #url: string;

  constructor(config: OtlphttpConfig, context: CreateContext) {
    this.#config = config;
    this.#url = `${config.endpoint.replace(/\/+$/, "")}/v1/traces`;
    const { sending_queue: queue, retry_on_failure: retry } = config;
    this.#queue = new DebugQueue(
      { requests: queue.queue_size, bytes: queue.max_bytes, consumers: queue.num_consumers },
      { initialMs: retry.initial_interval, maxMs: retry.max_interval, maxElapsedMs: retry.max_elapsed_time },
      context,
      (bytes, signal) => this.#send(bytes, signal),
    );
  }

  async start(): Promise<void> {}

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    this.#queue.put(batch);
    return [];
  }

  drain(timeoutMs: number): Promise<boolean> {
    return this.#queue.drain(timeoutMs);
  }

  shutdown(): Promise<void> {
    return this.#queue.close();
  }

  async #send(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const compressed = this.#config.compression === "gzip";
    const response = await fetch(this.#url, {
      method: "POST",
      headers: {
        ...this.#config.headers,
        "content-type": "application/x-protobuf",
        ...(compressed && { "content-encoding": "gzip" }),
      },
      // A view of a pooled buffer is sent as just that view.
      body: Buffer.from(compressed ? await gzipAsync(bytes) : bytes),
      signal: AbortSignal.any([signal, AbortSignal.timeout(this.#config.timeout)]),
      redirect: "error",
    });
    const text = await response.text();
    if (response.ok) return;
    const message = `${this.#url} answered ${response.status}: ${text.slice(0, 200)}`;
    throw RETRYABLE.has(response.status) ? new Error(message) : new PermanentError(message);
  }
}
