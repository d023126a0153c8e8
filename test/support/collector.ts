import { ClickHouseLogLevel, createClient, type ClickHouseClient } from "@clickhouse/client";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { startProcess, type RunningProcess } from "./process.ts";

/** The command of this repository, as built. */
export const otelAudit: string = fileURLToPath(new URL("../../packages/cli/bin/otel-audit.js", import.meta.url));

/** Base URLs of a running collector. */
export interface CollectorEndpoints {
  readonly otlpHttp: string;
  readonly otlpGrpc?: string;
  readonly sql: string;
  readonly metrics?: string;
  readonly health?: string;
}

export interface RunningCollector extends AsyncDisposable {
  readonly process: RunningProcess;
  readonly endpoints: CollectorEndpoints;
  /** Answers as objects, over the collector's SQL interface. */
  sql<Row>(query: string): Promise<Row[]>;
}

/**
 * Starts `otel-audit collector` in a process of its own and waits until it listens.
 *
 * @param options.dataDir its data directory; the second start on one continues what the first left
 * @param options.config file with a configuration; it has to listen on ports 0
 * @param options.env added to the environment, for `${env:…}` in the configuration
 */
export async function startCollector(options: {
  readonly dataDir: string;
  readonly config: string;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<RunningCollector> {
  const args = [otelAudit, "collector", "--config", options.config, "--data", options.dataDir];
  const collector = await startProcess(process.execPath, args, { env: { NODE_OPTIONS: undefined, ...options.env } });
  try {
    const endpoints = await readEndpoints(options.dataDir, collector);
    const client = createClient({ url: endpoints.sql, database: "otel_audit", log: { level: ClickHouseLogLevel.OFF } });
    return {
      process: collector,
      endpoints,
      sql: (query) => rows(client, query),
      [Symbol.asyncDispose]: async () => {
        await client.close();
        await collector[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await collector[Symbol.asyncDispose]();
    throw error;
  }
}

async function rows<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  const result = await client.query({ query, format: "JSONEachRow" });
  return result.json<Row>();
}

/** A collector leaves its process id and its addresses in its data directory when it is ready. */
async function readEndpoints(dataDir: string, collector: RunningProcess): Promise<CollectorEndpoints> {
  for (let tries = 0; tries < 600; tries++) {
    const text = await readFile(join(dataDir, "collector.json"), "utf8").catch(() => "{}");
    const state = JSON.parse(text) as { pid?: number; endpoints?: CollectorEndpoints };
    if (state.pid === collector.pid && state.endpoints) return state.endpoints;
    if (await Promise.race([collector.exited, sleep(100)])) break;
  }
  throw new Error(`the collector did not start:\n${collector.stdout}\n${collector.stderr}`);
}
