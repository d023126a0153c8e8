import type { Server, Socket } from "node:net";

/** How many connections a server holds at one time. */
export interface Room {
  readonly max: number;
  /** A connection was ended to make room for another one. */
  onCut?(): void;
}

/**
 * Bounds the connections of a server. Where a server refuses what comes above the bound, whoever opens many keeps everybody
 * else out for as long as he likes; so it is the oldest connection that goes, first of those whose client was never admitted.
 */
export class Connections {
  readonly #room: Room;
  /** In the order in which they came. */
  readonly #strangers = new Set<Socket>();
  /** In the order in which they were last used. */
  readonly #admitted = new Set<Socket>();
  /** TLS and what is below it are two sockets. */
  readonly #byPeer = new Map<string, Socket>();

  constructor(server: Server, room: Room) {
    this.#room = room;
    server.prependListener("connection", (socket: Socket) => this.#opened(socket));
  }

  /** A request of this connection's client was let in. */
  admitted(socket: Socket | undefined): void {
    const raw = socket && this.#known(socket);
    if (raw === undefined) return;
    this.#strangers.delete(raw);
    this.#admitted.delete(raw);
    this.#admitted.add(raw);
  }

  /** Ends those whose client was never admitted: none of them has anything under way that is worth waiting for. */
  cutStrangers(): void {
    for (const socket of this.#strangers) socket.destroy();
  }

  #opened(socket: Socket): void {
    if (this.#strangers.size + this.#admitted.size >= this.#room.max) {
      const [oldest] = this.#strangers.size > 0 ? this.#strangers : this.#admitted;
      this.#forget(oldest!);
      oldest!.destroy();
      this.#room.onCut?.();
    }
    this.#strangers.add(socket);
    const peer = peerOf(socket);
    if (peer !== undefined) this.#byPeer.set(peer, socket);
    socket.once("close", () => {
      this.#forget(socket);
      if (peer !== undefined && this.#byPeer.get(peer) === socket) this.#byPeer.delete(peer);
    });
  }

  #forget(socket: Socket): void {
    this.#strangers.delete(socket);
    this.#admitted.delete(socket);
  }

  #known(socket: Socket): Socket | undefined {
    if (this.#admitted.has(socket) || this.#strangers.has(socket)) return socket;
    const peer = peerOf(socket);
    const raw = peer === undefined ? undefined : this.#byPeer.get(peer);
    return raw && (this.#admitted.has(raw) || this.#strangers.has(raw)) ? raw : undefined;
  }
}

/** Undefined on a unix socket. */
function peerOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
