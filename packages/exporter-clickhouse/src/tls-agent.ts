import { Agent, type RequestOptions } from "node:https";
import type { Duplex } from "node:stream";
import type { ConnectionOptions } from "node:tls";

/** Keeps connections, and asks for each new one with which certificates it is made. */
export class TlsAgent extends Agent {
  readonly #tls: () => ConnectionOptions;

  constructor(tls: () => ConnectionOptions, connections: number) {
    // A session that is taken up again would go on under the certificate of before.
    super({ keepAlive: true, maxSockets: connections, maxCachedSessions: 0 });
    this.#tls = tls;
  }

  override createConnection(
    options: RequestOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    return super.createConnection({ ...options, ...this.#tls() }, callback);
  }
}
