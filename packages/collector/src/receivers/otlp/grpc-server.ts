import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Certificates } from "../../service/certificates.ts";
import { Connections, type Room } from "../../service/connections.ts";
import { MAX_HEADER_BYTES } from "../../service/http-server.ts";
import { Listener, type Place } from "../../service/listener.ts";
import type { GrpcConfig } from "./config.ts";
import { GrpcConnection } from "./grpc-connection.ts";

/** What may come on a stream, and on a connection, before we have read what came before it. */
const STREAM_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024;
/** MB of one connection in nghttp2 and in what was not read yet. */
const MAX_SESSION_MEMORY_MB = 16;
/**
 * Requests that a client may take back: all that it has under way, every 5 s. Node's default (1,000) lets four clients hold up
 * the others three times as long.
 */
const STREAM_RESETS = { burst: 100, perSecond: 20 };
/** How often connections are looked at. */
const SWEEP_MS = 250;

type StreamHandler = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
) => Promise<void>;

/** HTTP/2 as gRPC uses it, on one address: connections that are kept alive, bounded, and ended without loss. */
export class GrpcServer {
  readonly #server: Http2Server | Http2SecureServer;
  readonly #listener: Listener;
  readonly #certificates: Certificates | undefined;
  readonly #watch: (() => void) | undefined;
  readonly connections: Connections;
  readonly #sessions = new Map<Http2Session, GrpcConnection>();
  readonly #config: GrpcConfig;
  #sweeper: NodeJS.Timeout | undefined;

  /** @param what the setting that holds the address, for the error that names it */
  constructor(
    what: string,
    place: Place,
    config: GrpcConfig,
    handler: StreamHandler,
    room: Room,
    certificates?: Certificates,
  ) {
    this.#config = config;
    this.#certificates = certificates;
    const options: SecureServerOptions = {
      settings: {
        maxConcurrentStreams: config.max_concurrent_streams,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: MAX_HEADER_BYTES,
        enablePush: false,
      },
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
      streamResetBurst: STREAM_RESETS.burst,
      streamResetRate: STREAM_RESETS.perSecond,
    };
    if (certificates) {
      const secure = createSecureServer({ ...options, ...certificates.serverOptions });
      this.#watch = () => certificates.watch(secure);
      this.#server = secure;
    } else {
      this.#server = createServer(options);
    }
    this.connections = new Connections(this.#server, room);
    let accepted: Socket;
    // Node makes a connection's session while it tells of the connection: the one after the other.
    this.#server.prependListener(
      certificates ? "secureConnection" : "connection",
      (socket: Socket) => (accepted = socket),
    );
    this.#server.on("session", (session: ServerHttp2Session) => this.#open(session, accepted));
    // Each connection listens to the errors of its own session.
    this.#server.on("sessionError", () => {});
    this.#server.on(
      "stream",
      (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: string[]) => {
        // What a stream dies of is told by its end; without a listener it would end the process.
        stream.on("error", () => {});
        const connection = stream.session && this.#sessions.get(stream.session);
        connection?.opened(stream);
        void handler(stream, headers, rawHeaders);
      },
    );
    this.#listener = new Listener(what, this.#server, place);
  }

  /** `http://host:port` or `unix:<path>`, after `listen`. */
  get url(): string | undefined {
    return this.#listener.url(this.#certificates ? "https" : "http");
  }

  /** The connection that a stream is on, as it was accepted. */
  socketOf({ session }: ServerHttp2Stream): Socket | undefined {
    return session && this.#sessions.get(session)?.socket;
  }

  async listen(): Promise<void> {
    await this.#listener.listen();
    this.#watch?.();
    this.#sweeper = setInterval(() => {
      const now = performance.now();
      for (const connection of this.#sessions.values()) connection.look(now);
    }, SWEEP_MS);
    this.#sweeper.unref();
  }

  /** Stops accepting, lets requests under way finish for at most `graceMs`, then cuts them. */
  async close(graceMs = 5_000): Promise<void> {
    this.#certificates?.stop();
    if (!this.#listener.listening) return;
    const closed = this.#listener.close();
    for (const connection of this.#sessions.values()) connection.end();
    this.connections.cutStrangers();
    const cut = setTimeout(() => {
      for (const connection of this.#sessions.values()) connection.cut();
    }, graceMs);
    await closed;
    clearTimeout(cut);
    clearInterval(this.#sweeper);
  }

  #open(session: ServerHttp2Session, socket: Socket): void {
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    this.#sessions.set(session, new GrpcConnection(session, socket, this.#config.keepalive));
    session.once("close", () => this.#sessions.delete(session));
  }
}
