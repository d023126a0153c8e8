import { foreignCanary, judgeGrpc, judgeHttp, type HttpAnswer } from "./answers.ts";
import type { Canaries } from "./canary.ts";
import { GrpcLane, type GrpcAnswer, type GrpcJob } from "./grpc-lane.ts";
import { grpcRequest } from "./grpc-requests.ts";
import { HttpLane, type HttpJob } from "./http-lane.ts";
import { oddHttp, plainHttp } from "./http-requests.ts";
import { exchange } from "./odd-lane.ts";
import { contentOf, type Content } from "./requests.ts";

/** Milliseconds after which an answer counts as late. On a busy machine all are: what is late is asked again, alone. */
const LATE_MS = 1_000;
/** So many of the slowest are asked again. */
const MOST_LATE = 200;
/** Requests under way on one connection; a client that has more than 100 is cut. */
const HTTP_WINDOW = 48;
const GRPC_WINDOW = 48;
const HTTP_LANES = 6;
const GRPC_LANES = 3;
const ODD_LANES = 24;
/** Contents that are kept, because what they become is asked for soon. */
const KEPT = 5_000;

/** An empty request, after which the connection is closed. */
const LAST = Buffer.from(
  "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n" +
    "Connection: close\r\nContent-Length: 0\r\n\r\n",
);

type Way = "http" | "grpc" | "odd";

/** The number decides over which protocol a request goes. */
function wayOf(n: number): Way {
  if (n % 32 === 7) return "odd";
  return n % 4 === 1 ? "grpc" : "http";
}

interface TrafficOptions {
  readonly seed: number;
  readonly canaries: Canaries;
  readonly httpPort: number;
  readonly grpcUrl: string;
  /** False: no more requests. */
  readonly goOn: () => boolean;
}

/** All requests of a seed, on many connections at once, and what is wrong with their answers. */
export class Traffic {
  readonly #options: TrafficOptions;
  readonly #kept = new Map<number, Content>();
  readonly #cursor: Record<Way, number> = { http: 0, grpc: 0, odd: 0 };
  readonly problems: string[] = [];
  /** Answers by status, HTTP's and gRPC's. */
  readonly answers = new Map<string, number>();
  /** Valid requests that were taken whole. */
  readonly acknowledged = new Set<number>();
  /** How often a request was sent again at the end, when the collector's window of record keys may have forgotten it. */
  readonly sentAgain = new Map<number, number>();
  readonly #late: { readonly n: number; readonly milliseconds: number }[] = [];
  sent = 0;
  slowestMs = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
  }

  /** Sends requests `from` to `to`, the latter not. */
  async run(from: number, to: number): Promise<void> {
    const { httpPort, grpcUrl } = this.#options;
    for (const way of ["http", "grpc", "odd"] as const) this.#cursor[way] = from;
    const lanes = [
      ...many(HTTP_LANES, () => new HttpLane(httpPort, HTTP_WINDOW, () => this.#httpJob(to)).done),
      ...many(GRPC_LANES, () => new GrpcLane(grpcUrl, GRPC_WINDOW, () => this.#grpcJob(to)).done),
      ...many(ODD_LANES, () => this.#oddLane(to)),
    ];
    await Promise.all(lanes);
  }

  /** Asks again, one after the other, what was answered late: what is late now as well is slow. */
  async askAgain(): Promise<void> {
    const slowest = this.#late.toSorted((a, b) => b.milliseconds - a.milliseconds).slice(0, MOST_LATE);
    for (const { n } of slowest) {
      let least = Number.POSITIVE_INFINITY;
      for (let tries = 0; tries < 3 && least > LATE_MS; tries++) {
        this.sentAgain.set(n, tries + 1);
        least = Math.min(least, await this.#timeOf(n));
      }
      if (least > LATE_MS) this.problems.push(`request ${n} takes ${Math.round(least)} ms alone`);
    }
  }

  /** What was sent as request n, as protobuf; undefined when it is not known what arrives, or nothing can. */
  bytesOf(n: number): Uint8Array | undefined {
    if (wayOf(n) === "odd") return undefined;
    const content = this.content(n);
    if (content.expected !== "taken") return undefined;
    if (wayOf(n) === "grpc" && grpcRequest(content, this.#options.seed).expected === "any") return undefined;
    return content.protobuf;
  }

  content(n: number): Content {
    let content = this.#kept.get(n);
    if (content) return content;
    const { seed, canaries } = this.#options;
    content = contentOf(n, seed, canaries, wayOf(n) === "grpc" ? "protobuf" : undefined);
    this.#kept.set(n, content);
    // Those of other ways are rare: what comes back late is made again.
    if (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    return content;
  }

  #take(way: Way, to: number): number | undefined {
    let n = this.#cursor[way];
    while (n < to && wayOf(n) !== way) n++;
    this.#cursor[way] = n + 1;
    if (n >= to || !this.#options.goOn()) return undefined;
    this.sent++;
    return n;
  }

  #httpJob(to: number): HttpJob | undefined {
    const n = this.#take("http", to);
    if (n === undefined) return undefined;
    const content = this.content(n);
    return {
      bytes: plainHttp(content),
      answered: (answer, milliseconds) => this.#answeredHttp(content, answer, milliseconds),
      cut: () => this.problems.push(`request ${n}: the connection was cut without an answer`),
    };
  }

  #answeredHttp({ n, expected, encoding, valid }: Content, answer: HttpAnswer, milliseconds: number): void {
    this.#timed(n, milliseconds);
    this.#count(`HTTP ${answer.status}`);
    this.#judged(n, judgeHttp(answer, expected, encoding), answer.body.toString("latin1"));
    if (valid && answer.status === 200) this.acknowledged.add(n);
  }

  #grpcJob(to: number): GrpcJob | undefined {
    const n = this.#take("grpc", to);
    if (n === undefined) return undefined;
    const content = this.content(n);
    const { headers, body, expected } = grpcRequest(content, this.#options.seed);
    return {
      headers,
      body,
      answered: (answer, milliseconds) => {
        this.#timed(n, milliseconds);
        this.#answeredGrpc(n, answer, expected);
        if (content.valid && answer.code === 0) this.acknowledged.add(n);
      },
      cut: (why) => {
        // A header that HTTP/2 forbids is an error of the stream.
        if (expected === "any" && why.includes("PROTOCOL_ERROR")) this.#count("gRPC stream error");
        else this.problems.push(`request ${n}: no answer (${why})`);
      },
    };
  }

  #answeredGrpc(n: number, { status, code, message, body }: GrpcAnswer, expected: Content["expected"]): void {
    this.#count(status === 200 ? `gRPC ${code}` : `gRPC HTTP ${status}`);
    // A client that does not speak gRPC looks at HTTP's status.
    const wrong = status === 415 && expected === "any" ? undefined : judgeGrpc(code, message, expected);
    this.#judged(n, wrong, message + body.toString("latin1"));
  }

  async #oddLane(to: number): Promise<void> {
    for (let n = this.#take("odd", to); n !== undefined; n = this.#take("odd", to)) await this.#odd(n);
  }

  async #odd(n: number): Promise<void> {
    const { seed, httpPort } = this.#options;
    const { bytes: odd, statuses } = oddHttp(this.content(n), seed);
    // Whatever the first one did, the next one on the connection is served, or the connection is closed.
    const bytes = Buffer.concat([odd, LAST]);
    const { answers, rest, closed } = await exchange(httpPort, bytes, statuses !== undefined);
    const problem = (what: string): void => {
      this.problems.push(`request ${n}: ${what}\n  sent ${JSON.stringify(bytes.toString("latin1").slice(0, 300))}`);
    };
    if (!closed) problem("the connection hangs");
    // Nobody waited for what comes after it.
    const leftover = rest.toString("latin1");
    if (leftover !== "" && leftover !== "HTTP/1.1 100 Continue\r\n\r\n")
      problem(`something that is no answer: ${leftover.slice(0, 200)}`);
    if (answers.length === 0) {
      this.#count("HTTP odd, closed without an answer");
      if (statuses !== undefined) problem("no answer");
    }
    const [first] = answers;
    if (first && statuses && !statuses.includes(first.status))
      problem(`${first.status} instead of ${statuses.join("/")}`);
    for (const answer of answers) {
      this.#count(`HTTP ${answer.status}`);
      const wrong = judgeHttp(answer, "any", undefined);
      if (wrong !== undefined) problem(wrong);
      this.#judged(n, undefined, answer.body.toString("latin1"));
    }
  }

  #judged(n: number, wrong: string | undefined, text: string): void {
    const problem = wrong ?? foreignCanary(text, n, this.#options.canaries);
    if (problem !== undefined) this.problems.push(`request ${n} (${wayOf(n)}): ${problem}`);
  }

  #timed(n: number, milliseconds: number): void {
    this.slowestMs = Math.max(this.slowestMs, milliseconds);
    if (milliseconds > LATE_MS) this.#late.push({ n, milliseconds });
  }

  #count(name: string): void {
    this.answers.set(name, (this.answers.get(name) ?? 0) + 1);
  }

  /** Milliseconds of one request on a connection of its own. */
  async #timeOf(n: number): Promise<number> {
    const { httpPort, grpcUrl, seed } = this.#options;
    const content = this.content(n);
    const started = performance.now();
    if (wayOf(n) === "http")
      await once((job: HttpJob) => new HttpLane(httpPort, 1, take(job)).done, { bytes: plainHttp(content) });
    else await once((job: GrpcJob) => new GrpcLane(grpcUrl, 1, take(job)).done, grpcRequest(content, seed));
    return performance.now() - started;
  }
}

/** Sends one job and waits for its end, whatever that is. */
async function once<J>(send: (job: J) => Promise<void>, job: Omit<J, "answered" | "cut">): Promise<void> {
  await send({ ...job, answered: () => {}, cut: () => {} } as J);
}

function take<J>(job: J): () => J | undefined {
  let left: J | undefined = job;
  return () => {
    const now = left;
    left = undefined;
    return now;
  };
}

function many<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}
