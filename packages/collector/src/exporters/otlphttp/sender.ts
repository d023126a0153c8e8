import { promisify } from "node:util";
import { gzip } from "node:zlib";
import type { CreateContext, Signal } from "../../component.ts";
import { DebugQueue, PermanentError, RetryLater, type DebugRequest, type Outgoing, type Send } from "../debug-queue.ts";
import { redactUrl } from "../../config/secret.ts";
import type { QueueRoom } from "../queue-room.ts";
import { OtlpClient } from "./client.ts";
import { partialSuccess } from "./partial-success.ts";
import { signalUrl, type OtlphttpConfig } from "./config.ts";
import type { ClientTls } from "../client-tls.ts";

const gzipAsync = promisify<Uint8Array, Buffer>(gzip);

/** Characters of an answer in a log line. */
const MAX_SHOWN = 200;

/** The only HTTP statuses that an OTLP client may retry (OTLP specification, "OTLP/HTTP Response"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

/** The queue of one signal and the connections to its URL. */
export class SignalSender {
  readonly #queue: DebugQueue;
  readonly #client: OtlpClient;
  readonly #url: string;
  readonly #config: OtlphttpConfig;
  readonly #compressed = new WeakMap<object, Promise<Buffer>>();

  constructor(signal: Signal, config: OtlphttpConfig, room: QueueRoom, context: CreateContext, tls?: ClientTls) {
    this.#url = signalUrl(config, signal)!;
    this.#config = config;
    const { sending_queue: queue, retry_on_failure: retry } = config;
    this.#client = new OtlpClient(this.#url, queue.num_consumers, config.timeout, tls);
    const maxElapsedMs = retry.max_elapsed_time === 0 ? Number.POSITIVE_INFINITY : retry.max_elapsed_time;
    this.#queue = new DebugQueue(
      { requests: queue.queue_size, bytes: queue.max_bytes, consumers: queue.num_consumers },
      room,
      { initialMs: retry.initial_interval, maxMs: retry.max_interval, maxElapsedMs: retry.enabled ? maxElapsedMs : 0 },
      context,
      signal,
      this.#send,
      { maxBytes: queue.batch.max_size, lingerMs: queue.batch.flush_timeout },
    );
  }

  put(request: DebugRequest): void {
    this.#queue.put(request);
  }

  drain(timeoutMs: number): Promise<boolean> {
    return this.#queue.drain(timeoutMs);
  }

  async close(): Promise<void> {
    await this.#queue.close();
    this.#client.close();
  }

  readonly #send: Send = async (request, signal) => {
    const compress = this.#config.compression === "gzip";
    const headers = {
      ...this.#config.headers,
      "content-type": request.contentType,
      ...(compress && { "content-encoding": "gzip" }),
    };
    const body = compress ? [await this.#compress(request)] : request.parts;
    const answer = await this.#client.post(body, headers, signal);
    const { status, retryAfterMs } = answer;
    if (status >= 200 && status < 300) return partialSuccess(answer);
    const text = answer.body.toString("utf8").slice(0, MAX_SHOWN);
    const message = `${redactUrl(this.#url)} answered ${status}: ${text}`;
    throw RETRYABLE.has(status) ? new RetryLater(message, retryAfterMs) : new PermanentError(message);
  };

  /** Once for all attempts. */
  #compress(request: Outgoing): Promise<Buffer> {
    const { parts } = request;
    const compressed =
      this.#compressed.get(request) ?? gzipAsync(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    this.#compressed.set(request, compressed);
    return compressed;
  }
}
