import { join } from "node:path";
import type { ClosedSegment } from "@otel-audit/ledger";
import { AuditWriter } from "../audit-writer.ts";
import type { ClickHouseConnection } from "../connection.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import { ClickHouseError } from "../errors.ts";
import { ensureSchema } from "../schema.ts";

/**
 * The way to the table: a server, or an embedded engine that is started when the first segment is there and again when it
 * died. A failure to get there is the shipper's to retry.
 */
export class TableConnection {
  readonly #target: ClickHouseConnection | "embedded";
  readonly #dataDir: string;
  #engine: EmbeddedEngine | undefined;
  #writer: AuditWriter | undefined;

  constructor(target: ClickHouseConnection | "embedded", dataDir: string) {
    this.#target = target;
    this.#dataDir = dataDir;
  }

  async writeSegment(segment: ClosedSegment): Promise<void> {
    const writer = (this.#writer ??= await this.#connect());
    try {
      await writer.writeSegment(segment);
    } catch (error) {
      if (error instanceof ClickHouseError && error.code === "CONNECTION" && this.#engine === undefined) {
        await this.#disconnect();
      }
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#disconnect();
    await this.#engine?.stop();
    this.#engine = undefined;
  }

  async #connect(): Promise<AuditWriter> {
    if (this.#target !== "embedded") {
      await ensureSchema(this.#target);
      return new AuditWriter(this.#target);
    }
    const engine = await EmbeddedEngine.start({ dataDir: join(this.#dataDir, "clickhouse") });
    this.#engine = engine;
    engine.onExit(() => {
      if (this.#engine === engine) this.#engine = undefined;
    });
    return new AuditWriter(engine.writer);
  }

  async #disconnect(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.close();
  }
}
