import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { CreateContext, Exporter, Rejection } from "../../component.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { DebugQueue, PermanentError } from "../debug-queue.ts";
import { OtlpClient } from "./client.ts";
import type { OtlphttpConfig } from "./config.ts";

const gzipAsync = promisify<Uint8Array, Buffer>(gzip);

/** The only HTTP statuses that an OTLP client may retry (OTLP specification, "OTLP/HTTP Response"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** Forwards requests to an OTLP/HTTP backend as the very bytes that came, or as slices of them. */
export class OtlphttpExporter implements Exporter {
  readonly #queue: DebugQueue;
  readonly #config: OtlphttpConfig;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #client: OtlpClient;

  constructor(config: OtlphttpConfig, context: CreateContext) {
    this.#config = config;
    this.#url = `${config.endpoint.replace(/\/+$/, "")}/v1/traces`;
    this.#headers = {
      ...config.headers,
      "content-type": "application/x-protobuf",
      ...(config.compression === "gzip" && { "content-encoding": "gzip" }),
    };
    this.#client = new OtlpClient(this.#url, config.sending_queue.num_consumers, config.timeout);
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

  async shutdown(): Promise<void> {
    await this.#queue.close();
    this.#client.close();
  }

  async #send(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const body = this.#config.compression === "gzip" ? await gzipAsync(bytes) : bytes;
    const { status, text } = await this.#client.post(body, this.#headers, signal);
    if (status >= 200 && status < 300) return;
    const message = `${this.#url} answered ${status}: ${text.slice(0, 200)}`;
    throw RETRYABLE.has(status) ? new Error(message) : new PermanentError(message);
  }
}
