import type { DirectoryLock } from "@otel-audit/ledger";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import type { Logger } from "pino";
import type { ReceiverEndpoints } from "../component.ts";
import { parseConfig } from "../config/config.ts";
import type { CollectorConfig } from "../config/schema.ts";
import { CollectorError } from "../errors.ts";
import { ClickhouseEmbedded } from "../extensions/clickhouse_embedded/engine.ts";
import { HealthCheck } from "../extensions/health_check/health-check.ts";
import { lockDataDir, writeState } from "./data-dir.ts";
import { HealthState } from "./health-state.ts";
import type { HttpServer } from "./http-server.ts";
import { checkReusePort } from "./reuse-port.ts";
import { makeLog } from "./log.ts";
import { metricsServer } from "./metrics-server.ts";
import { Supervised } from "./supervised.ts";
import { Telemetry } from "./telemetry.ts";
import { setV8Flags } from "./v8-flags.ts";
import { Workers } from "./workers.ts";

/** After a worker has died the others get this long: what they have acknowledged is on disk. */
const FAILED_STOP_MS = 5_000;

export interface CollectorOptions {
  /** Log, embedded database, keys; created with mode 0700 where it is missing. Default `./otel-audit-data`. */
  readonly dataDir?: string;
  /** Added to every port of the configuration but 0. Default 0. */
  readonly portOffset?: number;
  /** Default: JSON lines on stderr at the configured level. */
  readonly log?: Logger;
}

/** Base URLs (`http://127.0.0.1:4318`) of what listens, or `unix:<path>`; absent where it is not configured. */
export interface Endpoints extends ReceiverEndpoints {
  readonly sql?: string;
  readonly metrics?: string;
  readonly health?: string;
}

/** A running collector: this thread supervises the workers, which run the pipelines of the configuration. */
export class Collector {
  readonly #config: CollectorConfig;
  readonly #dataDir: string;
  readonly #log: Logger;
  readonly #telemetry: Telemetry;
  readonly #supervised: Supervised;
  readonly #workers: Workers;
  readonly #metrics: HttpServer | undefined;
  readonly #failure = Promise.withResolvers<CollectorError>();
  #lock: DirectoryLock | undefined;
  #stateFile: string | undefined;
  #shutdown: Promise<void> | undefined;

  private constructor(config: CollectorConfig, options: CollectorOptions, dataDir: string) {
    const { telemetry } = config.service;
    const log = options.log ?? makeLog(telemetry.logs);
    const portOffset = options.portOffset ?? 0;
    const serviceInstanceId = randomUUID();
    const health = new HealthState();
    this.#config = config;
    this.#dataDir = dataDir;
    this.#log = log;
    this.#telemetry = new Telemetry(serviceInstanceId);
    this.#telemetry.observeProcess();
    const shared = { log, telemetry: this.#telemetry, dataDir, portOffset, health: health.of("supervisor") };
    this.#supervised = new Supervised(config, shared, (key, value) => this.#workers.tell(key, value));
    this.#workers = new Workers(
      {
        config,
        dataDir,
        portOffset,
        serviceInstanceId,
        logLevel: log.level,
        forwardLog: options.log !== undefined,
        told: this.#supervised.told,
      },
      { log, health, failed: (error) => this.#fail(error) },
    );
    this.#metrics = metricsServer(telemetry.metrics, {
      log,
      health: health.of("supervisor"),
      portOffset,
      expose: () => this.#exposeMetrics(),
    });
  }

  /**
   * Starts every component, downstream first, and returns when all listen.
   *
   * @param config a parsed configuration, or YAML text
   * @throws CollectorError `INVALID_CONFIG`, `ADDRESS_IN_USE`, `UNAVAILABLE` (the data directory) or what a component could not do; nothing is left running
   */
  static async start(config: CollectorConfig | string, options: CollectorOptions = {}): Promise<Collector> {
    setV8Flags();
    const parsed = typeof config === "string" ? parseConfig(config) : config;
    if (options.dataDir === "") throw new CollectorError("INVALID_CONFIG", "dataDir is empty, must name a directory");
    const dataDir = resolve(options.dataDir ?? "otel-audit-data");
    await checkReusePort(parsed.service.workers);
    const collector = new Collector(parsed, options, dataDir);
    await collector.#start();
    return collector;
  }

  /** Resolves with the reason when the collector cannot go on: it stops by itself then, and the process should end. */
  get failed(): Promise<CollectorError> {
    return this.#failure.promise;
  }

  get log(): Logger {
    return this.#log;
  }

  get endpoints(): Endpoints {
    const { extensions } = this.#supervised;
    const sql = extensions.find((e) => e instanceof ClickhouseEmbedded)?.endpoint;
    const health = extensions.find((e) => e instanceof HealthCheck)?.endpoint;
    const metrics = this.#metrics?.url;
    return {
      ...this.#workers.endpoints,
      ...(sql !== undefined && { sql }),
      ...(metrics !== undefined && { metrics }),
      ...(health !== undefined && { health }),
    };
  }

  /** Process id of the embedded engine, where there is one. */
  get enginePid(): number | undefined {
    return this.#supervised.extensions.find((e) => e instanceof ClickhouseEmbedded)?.pid;
  }

  /** Waits until everything that was acknowledged is in its destination; false after `timeoutMs` (default 30 s). */
  drain(timeoutMs = 30_000): Promise<boolean> {
    return this.#workers.drain(timeoutMs);
  }

  /** Stops upstream first. Records that did not reach ClickHouse in time stay in the log for the next start. */
  shutdown(): Promise<void> {
    return this.#stop();
  }

  async #start(): Promise<void> {
    try {
      this.#lock = await lockDataDir(this.#dataDir);
      await this.#metrics?.listen();
      await this.#supervised.start();
      await this.#workers.start(this.#config.service.workers);
      // A worker has died meanwhile.
      if (this.#shutdown) throw await this.failed;
      await this.#writeState();
    } catch (error) {
      await this.shutdown().catch((cause: unknown) => this.#log.error({ err: cause }, "stopping after a failed start"));
      throw CollectorError.from(error);
    }
    this.#log.info({ endpoints: this.endpoints, dataDir: this.#dataDir }, "collector is ready");
  }

  /** Only for convenience: a disk that is full must not keep the backlog from leaving, which alone makes room. */
  async #writeState(): Promise<void> {
    try {
      this.#stateFile = await writeState(this.#dataDir, this.endpoints);
    } catch (error) {
      this.#log.warn({ err: error, dataDir: this.#dataDir }, "the addresses could not be left in the data directory");
    }
  }

  /** A worker has died: its share of the connections would never be answered, so all of it ends. */
  #fail(error: CollectorError): void {
    this.#log.fatal({ err: error }, "the collector ends");
    this.#failure.resolve(error);
    void this.#stopAfterFailure();
  }

  async #stopAfterFailure(): Promise<void> {
    try {
      await this.#stop(FAILED_STOP_MS);
    } catch (error) {
      this.#log.error({ err: error }, "stopping after a failure");
    }
  }

  #stop(limitMs?: number): Promise<void> {
    this.#shutdown ??= (async () => {
      try {
        if (this.#stateFile !== undefined) await rm(this.#stateFile, { force: true });
      } finally {
        await this.#stopAll(limitMs);
      }
      this.#log.info("collector has stopped");
    })();
    return this.#shutdown;
  }

  async #stopAll(limitMs: number | undefined): Promise<void> {
    try {
      await this.#workers.stop(limitMs);
    } finally {
      try {
        await this.#supervised.shutdown();
      } finally {
        await this.#metrics?.close();
        await this.#lock?.release();
      }
    }
  }

  async #exposeMetrics(): Promise<{ text: string; contentType: string }> {
    const threads = [await this.#telemetry.snapshot(), ...(await this.#workers.metrics())];
    return { text: await Telemetry.expose(threads), contentType: this.#telemetry.registry.contentType };
  }
}
