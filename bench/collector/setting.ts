// A debug backend, a database and a load for the benches that are about time and memory, not about CPU.
import { startBackend } from "./backend.ts";
import { openClient, sendAll, sendPaced, type Client, type Paced } from "./client.ts";
import { startDatabase, type Database } from "./database.ts";
import { Requests, SPANS } from "./spans.ts";
import type { Environment, Subject } from "./subject.ts";

const CONNECTIONS = 8;
/** Requests under way at most when they come by the clock. */
const LIMIT = 64;

export class Setting {
  readonly database: Database;
  readonly env: Environment;
  readonly #close: () => Promise<void>;
  readonly #requests = new Requests(5);

  private constructor(database: Database, env: Environment, close: () => Promise<void>) {
    this.database = database;
    this.env = env;
    this.#close = close;
  }

  static async start(): Promise<Setting> {
    const [database, backend] = [await startDatabase(), await startBackend()];
    return new Setting(database, { ...database.env, DEBUG_BACKEND: backend.url }, async () => {
      await backend.close();
      await database.stop();
    });
  }

  stop(): Promise<void> {
    return this.#close();
  }

  /** Requests a second when the next is sent as soon as one is answered, after as many seconds of warming up. */
  async capacity(subject: Subject, seconds: number): Promise<number> {
    return this.#with(subject, CONNECTIONS, async (client) => {
      const full = async (): Promise<number> => {
        const end = performance.now() + seconds * 1_000;
        return sendAll(client, CONNECTIONS, () => (performance.now() < end ? this.#requests.next() : undefined));
      };
      await full();
      const start = performance.now();
      return (1_000 * (await full())) / (performance.now() - start);
    });
  }

  /** Sends at a rate of requests a second, plain HTTP, 20% audit. */
  paced(subject: Subject, rate: number, seconds: number): Promise<Paced> {
    return this.#with(subject, LIMIT, (client) =>
      sendPaced(client, { rate, seconds, limit: LIMIT }, () => this.#requests.next()),
    );
  }

  async #with<T>(subject: Subject, connections: number, use: (client: Client) => Promise<T>): Promise<T> {
    const client = openClient("http", subject.url("http")!, false, connections);
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }
}

/** Of a request rate, for people. */
export function spansPerSecond(rate: number): string {
  return `${Math.round(rate * SPANS).toLocaleString("en")} spans/s`;
}
