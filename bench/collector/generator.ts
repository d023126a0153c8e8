// The load of a bench, in a process of its own, so that neither its CPU nor its clock is anybody else's: requests that were
// encoded once, of which only the records' ids change, on plain sockets with one request under way on each. Jobs come from
// `load.ts`, which started it, and each is answered with what came of it.
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { GRACE_SECONDS, type Answer, type Job, type Outcome } from "./load.ts";
import { Requests } from "./spans.ts";

const REFUSED_PAUSE_MS = 20;

/** Makes requests of 20% audit spans. */
const requests = new Requests(5);

class Connection {
  readonly #socket: Socket;
  readonly #head: string;
  readonly #body = requests.next();
  #input = "";
  #answered: ((status: number) => void) | undefined;

  /** @param broken called when the other side ends it */
  constructor(url: URL, broken: (error: Error) => void) {
    this.#head =
      `POST /v1/traces HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: application/x-protobuf\r\n` +
      `Content-Length: ${this.#body.length}\r\n\r\n`;
    this.#socket = connect(Number(url.port), url.hostname).setNoDelay(true).setEncoding("latin1");
    this.#socket.on("error", broken).on("end", () => broken(new Error("the connection was closed")));
    this.#socket.on("data", (text: string) => this.#read(text));
  }

  /** @param answered called with the status */
  send(answered: (status: number) => void): void {
    this.#answered = answered;
    requests.renew(this.#body);
    this.#socket.cork();
    this.#socket.write(this.#head);
    this.#socket.write(this.#body);
    this.#socket.uncork();
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    this.#input += text;
    const end = this.#input.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#input.slice(0, end);
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
    if (this.#input.length < end + 4 + length) return;
    this.#input = "";
    this.#answered?.(Number(head.slice("HTTP/1.1 ".length, "HTTP/1.1 200".length)));
  }
}

/** One job: {@link run} it once. */
class Run {
  readonly #job: Job;
  readonly #free: Connection[];
  readonly #all: readonly Connection[];
  /** When the requests were due that wait for a connection. */
  readonly #due: number[] = [];
  readonly #latencies: number[] = [];
  readonly #end: number;
  #underWay = 0;
  #inTime = 0;
  #refused = 0;
  #failed: (error: Error) => void = () => {};

  constructor(job: Job) {
    this.#job = job;
    const broken = (error: Error): void => this.#failed(error);
    this.#all = Array.from({ length: job.connections }, () => new Connection(new URL(job.url), broken));
    this.#free = [...this.#all];
    this.#end = performance.now() + job.seconds * 1_000;
  }

  async run(): Promise<Outcome> {
    const failure = new Promise<never>((_, reject) => (this.#failed = reject));
    try {
      const sending = this.#job.rate === undefined ? this.#flood() : this.#byTheClock(this.#job.rate);
      await Promise.race([failure, sending]);
      const deadline = this.#end + GRACE_SECONDS * 1_000;
      while (this.#underWay + this.#due.length > 0 && performance.now() < deadline)
        await Promise.race([failure, sleep(5)]);
    } finally {
      for (const connection of this.#all) connection.close();
    }
    return {
      acknowledged: this.#latencies.length,
      refused: this.#refused,
      unanswered: this.#underWay + this.#due.length,
      perSecond: this.#inTime / this.#job.seconds,
      latencies: this.#latencies,
    };
  }

  async #flood(): Promise<void> {
    for (const connection of this.#free) this.#send(connection, performance.now());
    await sleep(this.#end - performance.now());
  }

  async #byTheClock(rate: number): Promise<void> {
    const start = performance.now();
    const total = Math.ceil(rate * this.#job.seconds);
    for (let at = 0; at < total; at++) {
      const due = start + (at * 1_000) / rate;
      // Several are due in a millisecond, or this process did not get the processor: their latency says so.
      const early = due - performance.now();
      if (early > 0) await sleep(Math.ceil(early));
      this.#due.push(due);
      this.#sendDue();
    }
  }

  /** On each connection in turn: one on which nothing comes for ten seconds is closed. */
  #sendDue(): void {
    while (this.#due.length > 0 && this.#free.length > 0) this.#send(this.#free.shift()!, this.#due.shift()!);
  }

  #send(connection: Connection, due: number): void {
    this.#underWay++;
    connection.send((status) => {
      this.#underWay--;
      const now = performance.now();
      if (status === 200) {
        this.#latencies.push(now - due);
        if (now <= this.#end) this.#inTime++;
      } else if (status === 429 || status === 503) this.#refused++;
      else this.#failed(new Error(`a request was answered with ${status}`));
      if (this.#job.rate !== undefined) {
        this.#free.push(connection);
        this.#sendDue();
      } else if (now < this.#end) {
        if (status === 200) this.#send(connection, now);
        else setTimeout(() => this.#sendAgain(connection), REFUSED_PAUSE_MS);
      }
    });
  }

  #sendAgain(connection: Connection): void {
    if (performance.now() < this.#end) this.#send(connection, performance.now());
  }
}

async function answer(job: Job): Promise<Answer> {
  try {
    return { outcome: await new Run(job).run() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

process.on("disconnect", () => process.exit());
process.on("message", (job: Job) => void answer(job).then((said) => process.send!(said)));
