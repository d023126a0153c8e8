import { createClient, type ClickHouseClient } from "@clickhouse/client";
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { CliError } from "../errors.ts";
import type { AuditQuery } from "./query.ts";

export interface SourceOptions {
  /** The collector's data directory. Default `./otel-audit-data`. */
  readonly data?: string;
  /** A ClickHouse server instead of a data directory. */
  readonly url?: string;
  readonly user?: string;
  /** Default: the variable OTEL_AUDIT_TOKEN. */
  readonly token?: string;
}

/** Something that answers SQL about the audit table: a running collector, a server, or the files of a stopped collector. */
export class RecordSource {
  readonly #client: ClickHouseClient;
  readonly #engine: EmbeddedEngine | undefined;
  /** What a person should know about the answers, for example that records wait in the log. */
  readonly notice: string | undefined;

  private constructor(client: ClickHouseClient, engine: EmbeddedEngine | undefined, notice: string | undefined) {
    this.#client = client;
    this.#engine = engine;
    this.notice = notice;
  }

  /** @throws CliError `NO_DATA` when there is nothing to ask */
  static async open(options: SourceOptions): Promise<RecordSource> {
    const token = options.token ?? process.env.OTEL_AUDIT_TOKEN;
    if (options.url !== undefined) return new RecordSource(client(options.url, options.user, token), undefined, undefined);
    const dataDir = resolve(options.data ?? "otel-audit-data");
    const running = runningCollector(dataDir);
    if (running !== undefined) {
      const candidate = client(running, options.user, token);
      if ((await candidate.ping()).success) return new RecordSource(candidate, undefined, undefined);
      await candidate.close();
    }
    if (!existsSync(join(dataDir, "engine"))) {
      throw new CliError("NO_DATA", `no audit data in ${dataDir}; name a collector's data directory with --data DIR, or a server with --url URL`);
    }
    const engine = await EmbeddedEngine.start({ dataDir, port: 0, readOnly: true });
    return new RecordSource(client(engine.url, options.user, token), engine, waitingInLog(dataDir));
  }

  /** The answer in any of ClickHouse's formats. */
  async text({ sql, params }: AuditQuery, format: "JSONEachRow" | "CSVWithNames" | "JSON"): Promise<string> {
    const result = await this.#client.exec({ query: `${sql}\nFORMAT ${format}`, query_params: params });
    const chunks: Buffer[] = [];
    for await (const chunk of result.stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  async rows<Row>(query: AuditQuery): Promise<Row[]> {
    const text = await this.text(query, "JSONEachRow");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Row);
  }

  async close(): Promise<void> {
    await this.#client.close();
    await this.#engine?.stop();
  }
}

function client(url: string, user: string | undefined, token: string | undefined): ClickHouseClient {
  return createClient({
    url,
    database: "otel_audit",
    ...(user !== undefined && { username: user }),
    ...(token !== undefined && { password: token }),
  });
}

/** A running collector leaves its addresses in its data directory. */
function runningCollector(dataDir: string): string | undefined {
  try {
    const state: unknown = JSON.parse(readFileSync(join(dataDir, "collector.json"), "utf8"));
    const sql = (state as { endpoints?: { sql?: unknown } }).endpoints?.sql;
    return typeof sql === "string" ? sql : undefined;
  } catch {
    return undefined;
  }
}

function waitingInLog(dataDir: string): string | undefined {
  const log = join(dataDir, "log");
  if (!existsSync(log)) return undefined;
  const files = readdirSync(log, { recursive: true, encoding: "utf8" }).filter((name) => /\.(?:open|segment)$/.test(name));
  return files.length === 0 ? undefined : `${files.length} segments of the log are not in the table yet; start the collector on ${dataDir} to insert them`;
}
