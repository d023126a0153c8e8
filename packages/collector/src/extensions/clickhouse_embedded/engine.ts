import { ClickHouseError, EmbeddedEngine, type ClickHouseConnection } from "@otel-audit/exporter-clickhouse";
import { scheduler } from "node:timers/promises";
import type { Component, SupervisorContext } from "../../component.ts";
import { offsetPort } from "../../config/address.ts";
import type { ClickhouseEmbeddedConfig } from "./config.ts";
import { CONNECTION } from "./connection.ts";

const FIRST_RESTART_MS = 200;
const MAX_RESTART_MS = 30_000;

/** ClickHouse in a child process on the collector's data directory; started again when it dies. */
export class ClickhouseEmbedded implements Component {
  #engine: EmbeddedEngine | undefined;
  /** The port of the first start: a free one that was given then is kept over restarts. */
  #port: number | undefined;
  #stopped = false;
  #restarting: Promise<void> | undefined;
  readonly #abort = new AbortController();
  readonly #config: ClickhouseEmbeddedConfig;
  readonly #context: SupervisorContext;

  constructor(config: ClickhouseEmbeddedConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  /** `http://host:port` of the SQL interface, after `start`. */
  get endpoint(): string | undefined {
    return this.#engine?.url;
  }

  /** Process id of the engine, for those who want to see it fail. */
  get pid(): number | undefined {
    return this.#engine?.pid;
  }

  /** The writer's connection, another one after a restart. @throws ClickHouseError `CONNECTION` while the engine is down */
  get connection(): ClickHouseConnection {
    if (!this.#engine) throw new ClickHouseError("CONNECTION", "the embedded engine is not running");
    return this.#engine.writer;
  }

  async start(): Promise<void> {
    const { id, portOffset } = this.#context;
    const { host, port } = offsetPort(this.#config.endpoint, portOffset, `extensions::${id}::endpoint`);
    const engine = await EmbeddedEngine.start({
      dataDir: this.#context.dataDir,
      host,
      port: this.#port ?? port,
      ...(this.#config.reader_token !== undefined && { token: this.#config.reader_token }),
      log: (line) => this.#context.log.info(line),
    });
    if (this.#stopped) return engine.stop();
    this.#engine = engine;
    this.#port = Number(new URL(engine.url).port);
    this.#context.tell(CONNECTION, engine.writer);
    engine.onExit(() => {
      this.#engine = undefined;
      this.#context.tell(CONNECTION, undefined);
      if (!this.#stopped) this.#restarting = this.#restart();
    });
  }

  async shutdown(): Promise<void> {
    this.#stopped = true;
    this.#abort.abort();
    await this.#restarting;
    await this.#engine?.stop();
  }

  async #restart(): Promise<void> {
    const { health, log, id } = this.#context;
    health.set(id, "the embedded engine died and is being started again");
    for (let wait = FIRST_RESTART_MS; !this.#stopped; wait = Math.min(wait * 2, MAX_RESTART_MS)) {
      await scheduler.wait(wait, { signal: this.#abort.signal }).catch(() => {});
      if (this.#stopped) return;
      try {
        await this.start();
        health.set(id, undefined);
        log.info("the embedded engine runs again");
        return;
      } catch (error) {
        log.error({ err: error }, "the embedded engine could not be started again");
      }
    }
  }
}
