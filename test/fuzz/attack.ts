import { connect as connectTcp, type Socket } from "node:net";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { parseAnswer } from "./http-lane.ts";

/** Whom an attack meets. */
export interface Victim {
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly healthPort: number;
  readonly metricsPort: number;
  /** Of a collector with TLS. */
  readonly ca: string | undefined;
}

export interface Attack {
  readonly name: string;
  /** Gives what is wrong with the collector's answers. What it opened is closed when it is over. */
  readonly run: (attacker: Attacker) => Promise<string[]>;
}

/** Who opens connections, and closes all of them at the end. */
export class Attacker {
  readonly victim: Victim;
  readonly #sockets = new Set<Socket>();

  constructor(victim: Victim) {
    this.victim = victim;
  }

  /** A connection on which nothing was said, in TLS where the collector has it. */
  async open(port: number): Promise<Socket> {
    const { ca } = this.victim;
    const secure = ca !== undefined;
    const protocols = port === this.victim.grpcPort ? ["h2"] : ["http/1.1"];
    const socket = secure
      ? connectTls({ port, host: "127.0.0.1", ca, ALPNProtocols: protocols })
      : connectTcp(port, "127.0.0.1");
    this.#keep(socket);
    await once(socket, secure ? "secureConnect" : "connect");
    return socket;
  }

  /** A bare connection of TCP. */
  async openBare(port: number): Promise<Socket> {
    const socket = connectTcp(port, "127.0.0.1");
    this.#keep(socket);
    await Promise.race([once(socket, "connect"), once(socket, "close")]);
    return socket;
  }

  /** Closes everything. */
  end(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

/** Writes as fast as the other side reads, until it closes or `make` gives nothing more. */
export async function pour(socket: Socket, make: (i: number) => Buffer | undefined): Promise<void> {
  for (let i = 0; !socket.destroyed && socket.writable; i++) {
    const bytes = make(i);
    if (bytes === undefined) return;
    // Whoever else is in this process has to get its turn.
    if (socket.write(bytes)) await (i % 16 === 15 ? sleep(0) : undefined);
    else await drained(socket);
  }
}

/** Resolves when the other side has read, or has closed, or after a moment in which it did neither. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      clearTimeout(late);
      socket.off("drain", settle).off("close", settle);
      resolve();
    };
    const late = setTimeout(settle, 500);
    socket.on("drain", settle).on("close", settle);
  });
}

/** The status of the first answer on a connection; 0 when it was closed without one. */
export async function firstStatus(socket: Socket, patienceMs = 45_000): Promise<number> {
  let input = Buffer.alloc(0);
  return new Promise((resolve) => {
    const late = setTimeout(() => settle(-1), patienceMs);
    const settle = (status: number): void => {
      clearTimeout(late);
      resolve(status);
    };
    socket.on("data", (chunk: Buffer) => {
      input = Buffer.concat([input, chunk]);
      const parsed = parseAnswer(input);
      if (parsed) settle(parsed.answer.status);
    });
    socket.once("close", () => settle(0));
    if (socket.destroyed) settle(0);
  });
}

/** Problems where a status is none of those that it should be. */
export function unless(what: string, status: number, ...allowed: readonly number[]): string[] {
  return allowed.includes(status) ? [] : [`${what}: ${status} instead of ${allowed.join(" or ")}`];
}
