import type { ClosedSegment } from "@otel-audit/ledger";
import { AuditWriter } from "../audit-writer.ts";
import type { ClickHouseConnection } from "../connection.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import { ClickHouseError } from "../errors.ts";
import { ensureSchema } from "../schema.ts";

/**
 * The way to the table: a server, or an embedded engine that is started with the first segment and again when it died. A
 * failure to get there is the shipper's to repeat.
 */
export class TableConnection {
  readonly #target: ClickHouseConnection | "embedded";
  readonly #dataDir: string;
  readonly #writer: AuditWriter;
  #engine: EmbeddedEngine | undefined;
  /** Segments are written side by side: the first of them starts the engine for all. */
  #starting: Promise<void> | undefined;
  #prepared = false;

  constructor(target: ClickHouseConnection | "embedded", dataDir: string) {
    this.#target = target;
    this.#dataDir = dataDir;
    this.#writer = new AuditWriter(target === "embedded" ? () => this.#engineConnection() : target);
  }

  async writeSegment(segment: ClosedSegment, isNew = false): Promise<void> {
    if (this.#target === "embedded") await this.#haveEngine();
    else await this.#prepareOnce(this.#target);
    await this.#writer.writeSegment(segment, isNew);
  }

  async close(): Promise<void> {
    await this.#writer.close();
    const engine = this.#engine;
    this.#engine = undefined;
    await engine?.stop();
  }

  #engineConnection(): ClickHouseConnection {
    if (this.#engine === undefined) throw new ClickHouseError("ENGINE_EXIT", "the embedded engine is not running");
    return this.#engine.writer;
  }

  async #haveEngine(): Promise<void> {
    if (this.#engine !== undefined) return;
    this.#starting ??= this.#startEngine().finally(() => {
      this.#starting = undefined;
    });
    await this.#starting;
  }

  async #startEngine(): Promise<void> {
    const engine = await EmbeddedEngine.start({ dataDir: this.#dataDir });
    this.#engine = engine;
    engine.onExit(() => {
      if (this.#engine === engine) this.#engine = undefined;
    });
  }

  async #prepareOnce(target: ClickHouseConnection): Promise<void> {
    if (this.#prepared) return;
    await ensureSchema(target);
    this.#prepared = true;
  }
}
