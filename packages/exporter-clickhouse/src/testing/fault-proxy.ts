import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/**
 * What happens to one insert:
 *
 * - `pass`: nothing.
 * - `cut-request`: both connections break while the body is on its way.
 * - `drop-answer`: the server gets all of it; its answer never arrives.
 */
export type Fault = "pass" | "cut-request" | "drop-answer";

/** A TCP proxy before a ClickHouse server that breaks inserts on purpose. Other requests pass. */
export class FaultProxy {
  /** What happens to the next inserts, first one first; then `pass`. */
  readonly faults: Fault[] = [];
  /** Inserts seen. */
  inserts = 0;
  /** Requests seen, inserts among them. */
  requests = 0;
  readonly #server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  readonly #target: URL;

  static async start(target: string, port = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(port, "127.0.0.1", resolve));
    return proxy;
  }

  constructor(target: string) {
    this.#target = new URL(target);
  }

  get url(): string {
    const address: AddressInfo | string | null = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #serve(client: Socket): void {
    const server = connect(Number(this.#target.port), this.#target.hostname);
    this.#sockets.add(client).add(server);
    let fault: Fault = "pass";
    client.on("data", (chunk) => {
      if (/^(?:GET|POST) /.test(chunk.toString("latin1"))) this.requests++;
      if (/^POST [^ ]*query=INSERT/.test(chunk.toString("latin1"))) {
        this.inserts++;
        fault = this.faults.shift() ?? "pass";
      }
      const onlyHeaders = chunk.subarray(-4).toString("latin1") === "\r\n\r\n";
      if (fault === "cut-request" && !onlyHeaders) {
        server.write(chunk.subarray(0, chunk.length - 20), () => {
          server.destroy();
          client.destroy();
        });
      } else {
        server.write(chunk);
      }
    });
    server.on("data", (chunk) => {
      if (fault === "drop-answer") client.destroy();
      else client.write(chunk);
    });
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }
}
