import { Readable } from "node:stream";
import { createClient, ClickHouseError as ServerError } from "@clickhouse/client";
import type { ClickHouseClient, ClickHouseSettings, ClickHouseClientConfigOptions } from "@clickhouse/client";
import type { ClickHouseConnection } from "./connection.ts";
import { ClickHouseError } from "./errors.ts";
import type { ClickHouseErrorCode } from "./errors.ts";
import { TlsAgent } from "./tls-agent.ts";
import { serverReason } from "./failure-reason.ts";

/** How the body of an insert is compressed. */
export type Compression = "none" | "gzip" | "zstd";

/** One INSERT of a ready Native block. */
interface NativeInsert {
  /** Database and table, quoted. */
  readonly table: string;
  readonly columns: readonly string[];
  /** One Native block, already compressed as `compression` says. */
  readonly block: Uint8Array;
  readonly compression: Compression;
  readonly settings: ClickHouseSettings;
  readonly queryId: string;
}

/** To one server at one time. */
const CONNECTIONS = 4;

const AUTHENTICATION = new Set([192, 193, 194, 497, 516]);
const SCHEMA = new Set([8, 10, 16, 36, 44, 47, 50, 53, 60, 81]);
/** Limits, replicas, Keeper, disk, cancellation: all of them pass. */
const OVERLOADED = new Set([
  159, 160, 164, 173, 201, 202, 209, 210, 216, 225, 236, 241, 242, 243, 244, 252, 254, 255, 279, 285, 286, 289, 305,
  319, 335, 364, 369, 394, 415, 425, 439, 473, 519, 529, 593, 677, 692, 700, 733, 745, 999,
]);

/** ClickHouse's HTTP interface, with this package's errors. */
export class ClickHouseHttp {
  readonly #client: ClickHouseClient;
  /** Of the server, for messages: the rest of the URL may hold credentials. */
  readonly #url: string;

  /** @param requestTimeoutMs how long a request may take. */
  constructor(connection: ClickHouseConnection, requestTimeoutMs: number) {
    try {
      this.#url = new URL(connection.url).origin;
      this.#client = createClient({
        url: connection.url,
        username: connection.username ?? "default",
        password: connection.password ?? "",
        request_timeout: requestTimeoutMs,
        max_open_connections: CONNECTIONS,
        ...secure(connection),
        application: "otel-audit",
        log: { level: 127 },
      });
    } catch (cause) {
      // What stands before the last @ may be credentials, behind ? as well.
      const shown = connection.url.replace(/^.*@/s, "").replace(/[?#].*$/s, "");
      throw new ClickHouseError("INVALID_OPTION", `url ${JSON.stringify(shown)}: not an HTTP address`, { cause });
    }
  }

  /** Rows of a SELECT with its bound parameters, as JSON objects. Servers differ in how they write 64-bit integers: select their `toString`. */
  async query<T>(
    sql: string,
    settings: ClickHouseSettings = {},
    parameters: Readonly<Record<string, string>> = {},
  ): Promise<T[]> {
    return await this.#guard(async () => {
      const result = await this.#client.query({
        query: sql,
        format: "JSONEachRow",
        clickhouse_settings: settings,
        query_params: parameters,
      });
      return await result.json<T>();
    });
  }

  async command(sql: string): Promise<void> {
    await this.#guard(async () => {
      await this.#client.command({ query: sql });
    });
  }

  /** The bytes of a SELECT that names its own FORMAT. */
  async *bytes(sql: string): AsyncIterable<Uint8Array> {
    const { stream } = await this.#guard(() => this.#client.exec({ query: sql }));
    try {
      // Without an encoding set, a Readable gives Buffers only.
      for await (const chunk of stream) if (chunk instanceof Uint8Array) yield chunk;
    } catch (cause) {
      throw toClickHouseError(cause, this.#url);
    }
  }

  async insertNative(insert: NativeInsert): Promise<void> {
    const headers = insert.compression === "none" ? {} : { "Content-Encoding": insert.compression };
    await this.#guard(async () => {
      const { stream } = await this.#client.exec({
        query: `INSERT INTO ${insert.table} (${insert.columns.map((name) => `\`${name}\``).join(", ")}) FORMAT Native`,
        values: Readable.from([insert.block], { objectMode: false }),
        http_headers: headers,
        clickhouse_settings: insert.settings,
        query_id: insert.queryId,
      });
      // An answer that breaks off is not an answer.
      for await (const chunk of stream) void chunk;
    });
  }

  async ping(): Promise<{ success: true } | { success: false; error: ClickHouseError }> {
    const result = await this.#client.ping({ select: true });
    return result.success ? { success: true } : { success: false, error: toClickHouseError(result.error, this.#url) };
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #guard<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      throw toClickHouseError(cause, this.#url);
    }
  }
}

/**
 * The client's own `tls` option is not used: with a certificate it always says that this is the user's proof, which a server that
 * asks for a certificate and a password refuses.
 */
function secure({ tls, username = "default", password }: ClickHouseConnection): ClickHouseClientConfigOptions {
  if (tls === undefined) return {};
  const http_agent = new TlsAgent(tls, CONNECTIONS);
  if (password !== undefined || tls().cert === undefined) return { http_agent };
  const http_headers = { "X-ClickHouse-User": username, "X-ClickHouse-SSL-Certificate-Auth": "on" };
  return { http_agent, http_headers, set_basic_auth_header: false };
}

/** What the client threw, as this package's error. */
function toClickHouseError(cause: unknown, url: string): ClickHouseError {
  if (cause instanceof ClickHouseError) return cause;
  if (cause instanceof ServerError) {
    const serverCode = Number(cause.code);
    const message = `ClickHouse at ${url}: ${cause.type ?? "error"} (${cause.code}): ${cause.message}`;
    return new ClickHouseError(classify(serverCode, message), message, { cause, serverCode });
  }
  const message = cause instanceof Error ? describe(cause) : String(cause);
  const reason = /\btime(?:d )?out\b/i.test(message) ? "timeout" : "unreachable";
  return new ClickHouseError("CONNECTION", `ClickHouse at ${url}: ${message}`, { cause, reason });
}

function classify(serverCode: number, message: string): ClickHouseErrorCode {
  if (serverReason(serverCode, message) === "disk_full") return "OVERLOADED";
  if (AUTHENTICATION.has(serverCode)) return "AUTHENTICATION";
  if (SCHEMA.has(serverCode)) return "SCHEMA";
  return OVERLOADED.has(serverCode) ? "OVERLOADED" : "SERVER";
}

/** Connection errors to several addresses come as an AggregateError without a message. */
function describe(error: Error): string {
  if (error.message !== "") return error.message;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
