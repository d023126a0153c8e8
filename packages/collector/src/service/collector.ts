import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pino, type Logger } from "pino";
import type { Health } from "../component.ts";
import { offsetPort } from "../config/address.ts";
import { parseConfig, type CollectorConfig } from "../config/config.ts";
import { CollectorError, errorMessage } from "../errors.ts";
import { ClickhouseEmbedded } from "../extensions/clickhouse_embedded/engine.ts";
import { HealthCheck } from "../extensions/health_check/health-check.ts";
import { MemoryPool } from "../memory.ts";
import { buildGraph, type Graph } from "./graph.ts";
import { HttpServer, refuseForeign } from "./http-server.ts";
import { SharedMemory } from "./shared-memory.ts";
import { Telemetry } from "./telemetry.ts";
import { setV8Flags } from "./v8-flags.ts";

export interface CollectorOptions {
  /** Log, embedded database, keys; created with mode 0700 where it is missing. Default `./otel-audit-data`. */
  readonly dataDir?: string;
  /** Added to every port of the configuration but 0. Default 0. */
  readonly portOffset?: number;
  /** Default: JSON lines on stderr at the configured level. */
  readonly log?: Logger;
}

/** Base URLs (`http://127.0.0.1:4318`) of what listens; absent where it is not configured. */
export interface Endpoints {
  readonly otlpHttp?: string;
  readonly sql?: string;
  readonly metrics?: string;
  readonly health?: string;
}

/** A running collector: the components of a configuration and the pipelines between them. */
export class Collector {
  readonly #graph: Graph;
  readonly #metrics: HttpServer | undefined;
  readonly #log: Logger;
  #stateFile: string | undefined;
  #shutdown: Promise<void> | undefined;

  private constructor(graph: Graph, metrics: HttpServer | undefined, log: Logger) {
    this.#graph = graph;
    this.#metrics = metrics;
    this.#log = log;
  }

  /**
   * Starts every component, downstream first, and returns when all listen.
   *
   * @param config a parsed configuration, or YAML text
   * @throws CollectorError `INVALID_CONFIG`, `ADDRESS_IN_USE` or what a component could not do; nothing is left running
   */
  static async start(config: CollectorConfig | string, options: CollectorOptions = {}): Promise<Collector> {
    setV8Flags();
    const parsed = typeof config === "string" ? parseConfig(config) : config;
    const { service } = parsed;
    const log = options.log ?? pino({ level: service.telemetry.logs.level }, pino.destination({ fd: 2, sync: true }));
    const dataDir = resolve(options.dataDir ?? "otel-audit-data");
    const portOffset = options.portOffset ?? 0;
    await makeDataDir(dataDir);
    const telemetry = new Telemetry(randomUUID());
    const graph = buildGraph(parsed, {
      log,
      telemetry,
      dataDir,
      portOffset,
      memory: new MemoryPool(),
      worker: { index: 0, count: 1 },
      sharedMemory: new SharedMemory(),
      health: new HealthState(),
    });
    const { address } = service.telemetry.metrics;
    const metrics = address && metricsServer(telemetry, offsetPort(address, portOffset));
    const collector = new Collector(graph, metrics, log);
    try {
      await metrics?.listen();
      await graph.start();
      collector.#stateFile = await writeState(dataDir, collector.endpoints);
    } catch (error) {
      await collector.shutdown().catch((cause: unknown) => log.error({ err: cause }, "stopping after a failed start"));
      throw CollectorError.from(error);
    }
    log.info({ endpoints: collector.endpoints, dataDir }, "collector is ready");
    return collector;
  }

  get endpoints(): Endpoints {
    const { receivers, extensions } = this.#graph;
    const otlpHttp = receivers[0]?.endpoint;
    const sql = extensions.find((e) => e instanceof ClickhouseEmbedded)?.endpoint;
    const health = extensions.find((e) => e instanceof HealthCheck)?.endpoint;
    const metrics = this.#metrics?.url;
    return {
      ...(otlpHttp !== undefined && { otlpHttp }),
      ...(sql !== undefined && { sql }),
      ...(metrics !== undefined && { metrics }),
      ...(health !== undefined && { health }),
    };
  }

  /** Process id of the embedded engine, where there is one. */
  get enginePid(): number | undefined {
    return this.#graph.extensions.find((e) => e instanceof ClickhouseEmbedded)?.pid;
  }

  /** Waits until everything that was acknowledged is in its destination; false after `timeoutMs` (default 30 s). */
  async drain(timeoutMs = 30_000): Promise<boolean> {
    const drained = await Promise.all(
      this.#graph.exporters.map(async (exporter) => exporter.drain?.(timeoutMs) ?? true),
    );
    return drained.every(Boolean);
  }

  /** Stops upstream first. Records that did not reach ClickHouse in time stay in the log for the next start. */
  shutdown(): Promise<void> {
    this.#shutdown ??= (async () => {
      try {
        if (this.#stateFile !== undefined) await rm(this.#stateFile, { force: true });
      } finally {
        await this.#stopAll();
      }
      this.#log.info("collector has stopped");
    })();
    return this.#shutdown;
  }

  async #stopAll(): Promise<void> {
    try {
      await this.#graph.shutdown();
    } finally {
      await this.#metrics?.close();
    }
  }
}

async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new CollectorError("INVALID_CONFIG", `data directory "${dataDir}": ${errorMessage(error)}`, { cause: error });
  }
}

/** Leaves the addresses in the data directory, for those who have only that (`otel-audit query --data DIR`). */
async function writeState(dataDir: string, endpoints: Endpoints): Promise<string> {
  const file = join(dataDir, "collector.json");
  await writeFile(`${file}.tmp`, `${JSON.stringify({ pid: process.pid, endpoints })}\n`, { mode: 0o600 });
  await rename(`${file}.tmp`, file);
  return file;
}

function metricsServer(telemetry: Telemetry, address: { host: string; port: number }): HttpServer {
  return new HttpServer("service::telemetry::metrics::address", address, (request, response) => {
    if (refuseForeign(request, response)) return;
    if (request.url !== "/metrics") {
      response.writeHead(404).end("not found; metrics are on /metrics\n");
      return;
    }
    telemetry.expose().then(
      (text) => response.writeHead(200, { "content-type": telemetry.registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
}

class HealthState implements Health {
  readonly #problems = new Map<string, string>();

  set(component: string, problem: string | undefined): void {
    if (problem === undefined) this.#problems.delete(component);
    else this.#problems.set(component, problem);
  }

  problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }
}
