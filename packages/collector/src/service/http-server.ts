import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer, type Server as SecureServer } from "node:https";
import { isLoopbackHostHeader } from "../config/address.ts";
import type { Certificates } from "./certificates.ts";
import { Connections, type Room } from "./connections.ts";
import { Listener, type Place } from "./listener.ts";

/** Milliseconds a client may take for its header, and for its whole request. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 40_000;
/** Bytes of a request's header. */
export const MAX_HEADER_BYTES = 16_384;
/** How often the two limits are checked; Node's default of 30 s would double them. */
const CHECK_INTERVAL_MS = 5_000;
/** Longer than the export interval of SDKs (5 s), or each export would find its connection just closed. */
const KEEP_ALIVE_MS = 65_000;

/** For probes and people: whoever opens more keeps nobody out, and takes no files that the log needs. */
const FEW: Room = { max: 32 };

/** An HTTP server on one address that closes within bounded time. */
export class HttpServer {
  readonly #server: Server | SecureServer;
  readonly #listener: Listener;
  readonly #certificates: Certificates | undefined;
  readonly #watch: (() => void) | undefined;
  readonly connections: Connections;

  /** @param what the setting that holds the address, for the error that names it */
  constructor(what: string, place: Place, listener: RequestListener, certificates?: Certificates, room = FEW) {
    this.#certificates = certificates;
    const options = {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Node would answer without a body; those who listen here look at Host themselves.
      requireHostHeader: false,
    };
    if (certificates) {
      const secure = createSecureServer({ ...options, ...certificates.serverOptions }, listener);
      this.#watch = () => certificates.watch(secure);
      this.#server = secure;
    } else {
      this.#server = createServer(options, listener);
    }
    this.connections = new Connections(this.#server, room);
    this.#listener = new Listener(what, this.#server, place);
  }

  /** For what Node's parser refuses and hands to nobody else. */
  get events(): Server | SecureServer {
    return this.#server;
  }

  /** `http://host:port` or `unix:<path>`, after `listen`. */
  get url(): string | undefined {
    return this.#listener.url(this.#certificates ? "https" : "http");
  }

  async listen(): Promise<void> {
    await this.#listener.listen();
    this.#watch?.();
  }

  /** Stops accepting, lets requests under way finish for at most `graceMs`, then cuts them. */
  async close(graceMs = 5_000): Promise<void> {
    this.#certificates?.stop();
    if (!this.#listener.listening) return;
    const closed = this.#listener.close();
    this.#server.closeIdleConnections();
    // Node leaves those on which nothing came, and TLS handshakes.
    this.connections.cutStrangers();
    const cut = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(cut);
  }
}

/** Refuses what a browser sends to a name that somebody pointed at this machine (DNS rebinding). True when it did. */
export function refuseForeign(request: IncomingMessage, response: ServerResponse): boolean {
  request.resume();
  if (isLoopbackHostHeader(request.headers.host)) return false;
  response.writeHead(403).end("the Host header does not name this machine\n");
  return true;
}
