import { connect, type Socket } from "node:net";
import type { HttpAnswer } from "./answers.ts";

/** A request as bytes, and who waits for its answer. */
export interface HttpJob {
  readonly bytes: Buffer;
  answered(answer: HttpAnswer, milliseconds: number): void;
  /** The connection ended without a word, twice, with this one at its head. */
  cut(): void;
}

interface Waiting {
  readonly job: HttpJob;
  sentAt: number;
  cuts: number;
}

/** One connection after the other to an HTTP server, each with many requests under way (pipelining). */
export class HttpLane {
  readonly #port: number;
  readonly #window: number;
  readonly #next: () => HttpJob | undefined;
  readonly #waiting: Waiting[] = [];
  readonly #again: Waiting[] = [];
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  #socket: Socket | undefined;
  #input: Buffer = Buffer.alloc(0);
  #closing = false;

  /** @param next gives a request each time there is room, undefined at the end */
  constructor(port: number, window: number, next: () => HttpJob | undefined) {
    this.#port = port;
    this.#window = window;
    this.#next = next;
    this.done = new Promise((resolve) => (this.#finish = resolve));
    this.#open();
  }

  #open(): void {
    this.#closing = false;
    this.#input = Buffer.alloc(0);
    const socket = connect(this.#port, "127.0.0.1");
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.once("close", () => this.#closed());
    this.#fill();
  }

  #fill(): void {
    const socket = this.#socket!;
    if (this.#closing || socket.destroyed) return;
    socket.cork();
    // One that was cut goes alone, so that it is known who is to blame.
    const suspect = this.#again.some(({ cuts }) => cuts > 0);
    while (this.#waiting.length < (suspect ? 1 : this.#window)) {
      const waiting = this.#again.shift() ?? this.#fresh();
      if (waiting === undefined) break;
      waiting.sentAt = performance.now();
      this.#waiting.push(waiting);
      socket.write(waiting.job.bytes);
    }
    socket.uncork();
    if (this.#waiting.length === 0) {
      this.#closing = true;
      socket.end();
    }
  }

  #fresh(): Waiting | undefined {
    const job = this.#next();
    return job && { job, sentAt: 0, cuts: 0 };
  }

  #read(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    for (let parsed = parseAnswer(this.#input); parsed !== undefined; parsed = parseAnswer(this.#input)) {
      this.#input = this.#input.subarray(parsed.end);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) throw new Error("an answer to nothing");
      waiting.job.answered(parsed.answer, performance.now() - waiting.sentAt);
      if (parsed.answer.headers["connection"] === "close") {
        this.#closing = true;
        this.#socket!.destroy();
        return;
      }
    }
    if (this.#waiting.length <= this.#window / 2) this.#fill();
  }

  #closed(): void {
    const [first, ...rest] = this.#waiting.splice(0);
    if (first && !this.#closing && ++first.cuts === 2) first.job.cut();
    else if (first) this.#again.push(first);
    this.#again.push(...rest);
    const more = this.#again.length > 0 || this.#pull();
    if (more) this.#open();
    else this.#finish();
  }

  #pull(): boolean {
    const waiting = this.#fresh();
    if (waiting) this.#again.push(waiting);
    return waiting !== undefined;
  }
}

/** The first answer in the bytes, when all of it is there. */
export function parseAnswer(input: Buffer): { readonly answer: HttpAnswer; readonly end: number } | undefined {
  const headEnd = input.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [first, ...lines] = input.toString("latin1", 0, headEnd).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first!)?.[1]);
  const headers: Record<string, string> = {};
  for (const line of lines) headers[line.slice(0, line.indexOf(":")).toLowerCase()] = line.slice(line.indexOf(":") + 2);
  if (status === 100) return parseAfter(input, headEnd + 4);
  const end = headEnd + 4 + Number(headers["content-length"] ?? 0);
  if (input.length < end) return undefined;
  return { answer: { status, headers, body: input.subarray(headEnd + 4, end) }, end };
}

/** The answer that follows a "100 Continue". */
function parseAfter(input: Buffer, at: number): ReturnType<typeof parseAnswer> {
  const parsed = parseAnswer(input.subarray(at));
  return parsed && { answer: parsed.answer, end: parsed.end + at };
}
