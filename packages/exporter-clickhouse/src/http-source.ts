import { isLoopbackHost } from "./embedded/access.ts";
import type { ClickHouseConnection, ConnectionSource } from "./connection.ts";
import { ClickHouseError } from "./errors.ts";
import { ClickHouseHttp } from "./http.ts";
import type { Compression } from "./http.ts";
import { DEFAULT_DATABASE, quoteName } from "./schema.ts";

/** What a writer needs for one request. */
export interface HttpTarget {
  readonly http: ClickHouseHttp;
  /** Quoted. */
  readonly database: string;
  readonly databaseName: string;
  /** Compression that is worth it on the way there. */
  readonly compression: Compression;
}

/** The client for a connection that may change, made anew when it did. */
export class HttpSource {
  readonly #source: () => ClickHouseConnection;
  readonly #requestTimeoutMs: number;
  readonly #compression: Compression | undefined;
  #current: { readonly connection: ClickHouseConnection; readonly target: HttpTarget } | undefined;
  #closed = false;

  constructor(source: ConnectionSource, requestTimeoutMs: number, compression: Compression | undefined) {
    this.#source = typeof source === "function" ? source : () => source;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.#compression = compression;
    // A fixed connection that cannot work fails here and not at the first segment.
    if (typeof source !== "function") this.target();
  }

  /** @throws ClickHouseError `CONNECTION` while there is no connection, `CLOSED` after `close`. */
  target(): HttpTarget {
    if (this.#closed) throw new ClickHouseError("CLOSED", "the writer was closed");
    const connection = this.#ask();
    const current = this.#current;
    if (current !== undefined && isSame(current.connection, connection)) return current.target;
    const databaseName = connection.database ?? DEFAULT_DATABASE;
    const target: HttpTarget = {
      http: new ClickHouseHttp(connection, this.#requestTimeoutMs),
      database: quoteName("database", databaseName),
      databaseName,
      compression: this.#compression ?? (isLoopbackHost(new URL(connection.url).hostname) ? "none" : "zstd"),
    };
    this.#current = { connection, target };
    // Nobody waits for the old server; what still runs there fails by itself.
    current?.target.http.close().catch(() => undefined);
    return target;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const current = this.#current;
    this.#current = undefined;
    await current?.target.http.close();
  }

  #ask(): ClickHouseConnection {
    try {
      return this.#source();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new ClickHouseError("CONNECTION", `no ClickHouse to connect to: ${reason}`, {
        cause,
        reason: "engine_down",
      });
    }
  }
}

function isSame(a: ClickHouseConnection, b: ClickHouseConnection): boolean {
  if (a.tls !== b.tls) return false;
  return a.url === b.url && a.username === b.username && a.password === b.password && a.database === b.database;
}
