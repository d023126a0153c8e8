import { ClickHouseError, TracesWriter } from "@otel-audit/exporter-clickhouse";
import type { CreateContext, Exporter, Rejection } from "../../component.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { DebugQueue, debugRequest } from "../debug-queue.ts";
import { QueueRoom } from "../queue-room.ts";
import { createSchema, resolveConnection, waitAtStart } from "../destination.ts";
import type { ClickhouseTracesConfig } from "./config.ts";

/** Every insert makes a part in the table: few and large ones. */
const BATCHING = { maxBytes: 16 * 1024 * 1024, lingerMs: 1_000 };
const RETRY = { initialMs: 500, maxMs: 30_000, maxElapsedMs: 300_000 };

/** Debug spans into `otel_traces`, with the columns and values of the contrib exporter. Bounded; may drop, counted. */
export class ClickhouseTracesExporter implements Exporter {
  readonly #config: ClickhouseTracesConfig;
  readonly #context: CreateContext;
  readonly #queue: DebugQueue;
  #writer: TracesWriter | undefined;

  constructor(config: ClickhouseTracesConfig, context: CreateContext) {
    this.#config = config;
    this.#context = context;
    const { queue_size: requests, max_bytes: bytes } = config.sending_queue;
    this.#queue = new DebugQueue(
      { requests, bytes, consumers: 1 },
      new QueueRoom("traces", context),
      RETRY,
      context,
      "traces",
      async ({ parts }) => {
        await this.#insert(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
        return undefined;
      },
      BATCHING,
    );
  }

  async start(): Promise<void> {
    this.#writer = new TracesWriter(resolveConnection(this.#config, this.#context));
    if (this.#context.worker.index > 0) return;
    const tables = createSchema(this.#config, this.#context).catch((error: unknown) => {
      this.#context.log.warn({ err: error }, "the schema could not be applied; inserts will be tried all the same");
    });
    await waitAtStart(tables, () =>
      this.#context.log.warn(
        "ClickHouse has not answered yet; the start goes on, and so do the statements of the schema",
      ),
    );
  }

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    this.#queue.put(debugRequest(batch));
    return [];
  }

  drain(timeoutMs: number): Promise<boolean> {
    return this.#queue.drain(timeoutMs);
  }

  async shutdown(): Promise<void> {
    await this.#queue.close();
    await this.#writer?.close();
  }

  async #insert(request: Uint8Array): Promise<void> {
    try {
      await this.#writer!.insert(request);
    } catch (error) {
      // A server that was away at the start may come without tables: the next try finds them.
      if (error instanceof ClickHouseError && error.code === "SCHEMA") await createSchema(this.#config, this.#context);
      throw error;
    }
  }
}
