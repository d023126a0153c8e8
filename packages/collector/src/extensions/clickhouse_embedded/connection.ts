import { ClickHouseError, type ClickHouseConnection } from "@otel-audit/exporter-clickhouse";
import type { Component, CreateContext, Topic } from "../../component.ts";

/** The writer's connection; undefined while the engine is down. */
export const CONNECTION: Topic<ClickHouseConnection | undefined> = { name: "connection" };

/** The engine as a worker sees it. */
export class EngineConnection implements Component {
  readonly #context: CreateContext;

  constructor(context: CreateContext) {
    this.#context = context;
  }

  /** Another one after each start of the engine. @throws ClickHouseError `CONNECTION` while the engine is down */
  get connection(): ClickHouseConnection {
    const told = this.#context.told(CONNECTION);
    if (!told) throw new ClickHouseError("CONNECTION", "the embedded engine is not running");
    return told;
  }

  async start(): Promise<void> {}

  async shutdown(): Promise<void> {}
}
