import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/**
 * What happens to one insert:
 *
 * - `pass`: nothing.
 * - `cut-request`: both connections break while the body is on its way.
 * - `drop-answer`: the server gets all of it; its answer never arrives.
 * - `cut-answer`: the server gets all of it; its answer breaks off in the middle.
 * - `hold`: the server gets nothing of it before `release`, also when the client has gone meanwhile.
 * - an exception: the server gets nothing, this is the answer.
 */
export type Fault = "pass" | "cut-request" | "drop-answer" | "cut-answer" | "hold" | Exception;

/** An exception of ClickHouse's, by number and name. */
export interface Exception {
  readonly code: number;
  readonly name: string;
  readonly text?: string;
}

function answer({ code, name, text = "as the test wants it" }: Exception): string {
  const body = `Code: ${code}. DB::Exception: ${text}. (${name}) (version 26.7.1.1)\n`;
  return (
    `HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: ${code}\r\n` +
    `Content-Type: text/plain\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  );
}

/** A TCP proxy before a ClickHouse server that breaks inserts on purpose. Other requests pass. */
export class FaultProxy {
  /** What happens to the next inserts, first one first; then `pass`. */
  readonly faults: Fault[] = [];
  /** What happens to inserts when `faults` is empty; by the head of the request, where it depends. */
  always: Fault | ((request: string) => Fault) = "pass";
  /** Inserts seen. */
  inserts = 0;
  /** Requests seen, inserts among them. */
  requests = 0;
  readonly #server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  /** What the server gets at `release`. */
  #held: (() => void)[] = [];
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

  /** Lets go of what was held. */
  release(): void {
    for (const go of this.#held.splice(0)) go();
  }

  #serve(client: Socket): void {
    const server = connect(Number(this.#target.port), this.#target.hostname);
    this.#sockets.add(client).add(server);
    let fault: Fault = "pass";
    let held = false;
    client.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      if (/^(?:GET|POST) /.test(text)) this.requests++;
      if (/^POST [^ ]*query=INSERT/.test(text)) {
        this.inserts++;
        fault = this.faults.shift() ?? (typeof this.always === "function" ? this.always(text) : this.always);
      }
      if (fault === "hold") {
        held = true;
        this.#held.push(() => server.write(chunk));
      } else if (typeof fault === "object") {
        client.end(answer(fault));
      } else if (fault === "cut-request" && !text.endsWith("\r\n\r\n")) {
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
      else if (fault === "cut-answer") client.end(chunk.subarray(0, 30));
      else client.write(chunk);
    });
    server.on("error", () => client.destroy());
    server.on("close", () => {
      this.#sockets.delete(server);
      client.destroy();
    });
    client.on("error", () => undefined);
    client.on("close", () => {
      this.#sockets.delete(client);
      // What is held is on its way to the server, wherever its client is.
      if (!held) server.destroy();
    });
  }
}
