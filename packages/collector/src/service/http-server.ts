import { findPortOwner } from "@otel-audit/exporter-clickhouse";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { formatAddress, isLoopbackHostHeader, type Address } from "../config/address.ts";
import { CollectorError } from "../errors.ts";

/** Milliseconds a client may take for its header, and for its whole request. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const MAX_HEADER_BYTES = 16_384;
/** How often the two limits are checked; Node's default of 30 s would double them. */
const CHECK_INTERVAL_MS = 5_000;
/** Longer than the export interval of SDKs (5 s), or each export would find its connection just closed. */
const KEEP_ALIVE_MS = 65_000;
/** Far above what one machine's processes need, and below the usual limit of open files, which the log needs too. */
const MAX_CONNECTIONS = 4_096;

/** An HTTP server on one address that tells what is wrong with the address and closes within bounded time. */
export class HttpServer {
  readonly #server: Server;
  readonly #address: Address;
  readonly #what: string;

  /** @param what the setting that holds the address, for the error that names it */
  constructor(what: string, address: Address, listener: RequestListener) {
    this.#what = what;
    this.#address = address;
    this.#server = createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: CHECK_INTERVAL_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        maxHeaderSize: MAX_HEADER_BYTES,
      },
      listener,
    );
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** `http://host:port`, after `listen`. */
  get url(): string | undefined {
    const bound = this.#server.address();
    return typeof bound === "object" && bound
      ? `http://${formatAddress({ host: bound.address, port: bound.port })}`
      : undefined;
  }

  async listen(): Promise<void> {
    const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
      this.#server.once("error", resolve);
      this.#server.listen(this.#address.port, this.#address.host, () => {
        this.#server.off("error", resolve);
        resolve(undefined);
      });
    });
    if (error) throw await this.#listenError(error);
  }

  /** Stops accepting, lets requests under way finish for at most `graceMs`, then cuts them. */
  async close(graceMs = 5_000): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const cut = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(cut);
  }

  async #listenError(error: NodeJS.ErrnoException): Promise<CollectorError> {
    const address = formatAddress(this.#address);
    if (error.code === "EADDRINUSE") {
      const owner = (await findPortOwner(this.#address.port)) ?? "another process";
      return new CollectorError(
        "ADDRESS_IN_USE",
        `${this.#what}: ${address} is in use by ${owner}; stop that one, or move all ports with --port-offset N`,
        { cause: error },
      );
    }
    return new CollectorError("INVALID_CONFIG", `${this.#what}: cannot listen on ${address}: ${error.message}`, {
      cause: error,
    });
  }
}

/** Refuses what a browser sends to a name that somebody pointed at this machine (DNS rebinding). True when it did. */
export function refuseForeign(request: IncomingMessage, response: ServerResponse): boolean {
  request.resume();
  if (isLoopbackHostHeader(request.headers.host)) return false;
  response.writeHead(403).end("the Host header does not name this machine\n");
  return true;
}
