import type { ConnectionOptions } from "node:tls";

/** Where a ClickHouse server answers over HTTP, and as whom. */
export interface ClickHouseConnection {
  /** Base address, `http://127.0.0.1:8123`. */
  readonly url: string;
  /** Default: the server's `default` user. */
  readonly username?: string;
  /** Never written to a log or an error message. Without one, and with a certificate in `tls`, that says who the user is. */
  readonly password?: string;
  /** Default `otel_audit`. */
  readonly database?: string;
  /** Of an https address, asked before each connection. Default: Node's authorities, no certificate. */
  readonly tls?: () => ConnectionOptions;
}

/**
 * A connection, or a function that tells the one to use now: an embedded engine has another credential after each start.
 * It is asked before every request and may throw while there is none.
 */
export type ConnectionSource = ClickHouseConnection | (() => ClickHouseConnection);
