// A debug backend, a database and a load for the benches that are about time and memory.
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startDatabase, type Database } from "./database.ts";
import { Load, type Job, type Outcome } from "./load.ts";
import { SPANS } from "./spans.ts";
import type { Environment, Subject } from "./subject.ts";

/** Enough for a collector to have the next request there when it has answered one, in each of its workers. */
const CONNECTIONS = 16;
/** Requests under way at most when they come by the clock. */
const LIMIT = 64;

export class Setting {
  readonly database: Database;
  readonly env: Environment;
  readonly #load = new Load();
  readonly #sink: ChildProcess;

  private constructor(database: Database, sink: ChildProcess, port: number) {
    this.database = database;
    this.#sink = sink;
    this.env = { ...database.env, DEBUG_BACKEND: `http://127.0.0.1:${port}` };
  }

  static async start(): Promise<Setting> {
    const sink = fork(fileURLToPath(new URL("sink.ts", import.meta.url)));
    const [port] = (await once(sink, "message")) as [number];
    return new Setting(await startDatabase(), sink, port);
  }

  async stop(): Promise<void> {
    this.#load.stop();
    this.#sink.kill();
    await this.database.stop();
  }

  /** Processes of the load and the debug backend. */
  get pids(): number[] {
    return [this.#load.pid, this.#sink.pid!];
  }

  /** The next request is sent as soon as one is answered. */
  flood(subject: Subject, seconds: number): Promise<Outcome> {
    return this.#run(subject, { connections: CONNECTIONS, seconds });
  }

  /** @param rate requests a second */
  paced(subject: Subject, rate: number, seconds: number): Promise<Outcome> {
    return this.#run(subject, { connections: LIMIT, seconds, rate });
  }

  async #run(subject: Subject, job: Omit<Job, "url">): Promise<Outcome> {
    try {
      return await this.#load.run({ ...job, url: subject.url("http")! });
    } catch (error) {
      throw new Error(`${subject.name}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** Of a request rate, for people. */
export function spansPerSecond(rate: number): string {
  return `${Math.round(rate * SPANS).toLocaleString("en")} spans/s`;
}
