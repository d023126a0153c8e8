import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { GrpcConfig } from "./config.ts";

/** Milliseconds for a client's first frame (SETTINGS). */
const PREFACE_TIMEOUT_MS = 10_000;
/** Milliseconds for a whole request and its answer; a body alone has 30 s, and a pipeline that waits for a disk answers sooner. */
const STREAM_TIMEOUT_MS = 120_000;
/** Milliseconds between pings that are allowed where no request is under way and none are permitted (as grpc-go has it). */
const IDLE_PING_MS = 2 * 3_600_000;
/** Milliseconds between the reason for which a client is cut, and the cut. */
const LINGER_MS = 1_000;
/** Pings that come too early before a client is cut; it starts again with each request (as grpc-go has it). */
const MAX_PING_STRIKES = 2;

/**
 * One connection of a gRPC client: ended when it is idle or old, pinged when it is silent, cut when it pings too often
 * (gRFC A8 and A9).
 */
export class GrpcConnection {
  readonly socket: Socket;
  readonly #session: ServerHttp2Session;
  readonly #keepalive: GrpcConfig["keepalive"];
  readonly #born = performance.now();
  readonly #streams = new Map<ServerHttp2Stream, number>();
  #greeted = false;
  /** Since when there is no request under way. */
  #idleSince = this.#born;
  /** Since when it is being ended. */
  #endingSince: number | undefined;
  #bytesSeen = 0;
  #seenAt = this.#born;
  #pingedAt: number | undefined;
  #lastPing = Number.NEGATIVE_INFINITY;
  #strikes = 0;

  /** @param socket as it was accepted: a session that is being closed leaves it to the client to close it */
  constructor(session: ServerHttp2Session, socket: Socket, keepalive: GrpcConfig["keepalive"]) {
    this.#session = session;
    this.#keepalive = keepalive;
    this.socket = socket;
    session.once("remoteSettings", () => (this.#greeted = true));
    session.on("ping", () => this.#pinged());
    session.on("error", () => this.cut());
  }

  opened(stream: ServerHttp2Stream): void {
    this.#strikes = 0;
    this.#streams.set(stream, performance.now());
    stream.once("close", () => {
      this.#streams.delete(stream);
      if (this.#streams.size === 0) this.#idleSince = performance.now();
    });
  }

  /** Sends GOAWAY; what is under way is finished, and the client opens another connection for the rest. */
  end(): void {
    if (this.#endingSince !== undefined) return;
    this.#endingSince = performance.now();
    this.#session.close();
  }

  /** Ends it at once. */
  cut(): void {
    this.#session.destroy();
    this.socket.destroy();
  }

  /** Called time and again. */
  look(now: number): void {
    const {
      max_connection_idle: idle,
      max_connection_age: age,
      max_connection_age_grace: grace,
    } = this.#keepalive.server_parameters;
    if (!this.#greeted && now - this.#born > PREFACE_TIMEOUT_MS) this.cut();
    else if (this.#endingSince !== undefined && now - this.#endingSince > grace) this.cut();
    else if (this.#streams.size === 0 && now - this.#idleSince > idle) this.end();
    else if (age !== undefined && now - this.#born > age) this.end();
    for (const [stream, since] of this.#streams) {
      if (now - since < STREAM_TIMEOUT_MS) break;
      stream.close(constants.NGHTTP2_CANCEL);
    }
    if (!this.#session.destroyed) this.#keepAlive(now);
  }

  #keepAlive(now: number): void {
    const { time, timeout } = this.#keepalive.server_parameters;
    const { bytesRead } = this.socket;
    if (bytesRead !== this.#bytesSeen) {
      this.#bytesSeen = bytesRead;
      this.#seenAt = now;
      this.#pingedAt = undefined;
    } else if (this.#pingedAt !== undefined) {
      if (now - this.#pingedAt > timeout) this.cut();
    } else if (now - this.#seenAt > time) {
      this.#pingedAt = now;
      this.#session.ping(() => {});
    }
  }

  #pinged(): void {
    const { min_time: minTime, permit_without_stream: idlePings } = this.#keepalive.enforcement_policy;
    const now = performance.now();
    const least = this.#streams.size === 0 && !idlePings ? IDLE_PING_MS : minTime;
    const early = now - this.#lastPing < least;
    this.#lastPing = now;
    if (!early || ++this.#strikes <= MAX_PING_STRIKES || this.#session.destroyed) return;
    this.#session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from("too_many_pings"));
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    // So long it may read why.
    setTimeout(() => this.cut(), LINGER_MS);
  }
}
