import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { formatAddress, type Address } from "../config/address.ts";
import { CollectorError } from "../errors.ts";

/** Milliseconds a client may take for its header, and for its whole request. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const MAX_HEADER_BYTES = 16_384;

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
      { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: MAX_HEADER_BYTES },
      listener,
    );
  }

  /** `http://host:port`, after `listen`. */
  get url(): string | undefined {
    const bound = this.#server.address() as AddressInfo | null;
    return bound ? `http://${formatAddress({ host: bound.address, port: bound.port })}` : undefined;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException): void => reject(this.#listenError(error));
      this.#server.once("error", fail);
      this.#server.listen(this.#address.port, this.#address.host, () => {
        this.#server.off("error", fail);
        resolve();
      });
    });
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

  #listenError(error: NodeJS.ErrnoException): CollectorError {
    const address = formatAddress(this.#address);
    if (error.code === "EADDRINUSE") {
      return new CollectorError(
        "ADDRESS_IN_USE",
        `${this.#what}: ${address} is in use by another process; stop that one, or move all ports with --port-offset N`,
        { cause: error },
      );
    }
    return new CollectorError("INVALID_CONFIG", `${this.#what}: cannot listen on ${address}: ${error.message}`, {
      cause: error,
    });
  }
}
