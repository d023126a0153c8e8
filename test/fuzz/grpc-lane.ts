import { connect, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";

export const TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

export interface GrpcJob {
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  answered(answer: GrpcAnswer, milliseconds: number): void;
  /** The stream ended without an answer, twice. */
  cut(why: string): void;
}

export interface GrpcAnswer {
  readonly status: number;
  /** Undefined where HTTP's status says it. */
  readonly code: number | undefined;
  readonly message: string;
  readonly body: Buffer;
}

/** One HTTP/2 connection with many calls under way. */
export class GrpcLane {
  readonly #url: string;
  readonly #ca: string | undefined;
  readonly #window: number;
  readonly #next: () => GrpcJob | undefined;
  readonly done: Promise<void>;
  #finish: () => void = () => {};
  #session: ClientHttp2Session;
  #underWay = 0;

  /** @param ca of a server with TLS */
  constructor(url: string, window: number, next: () => GrpcJob | undefined, ca?: string) {
    this.#url = url;
    this.#ca = ca;
    this.#window = window;
    this.#next = next;
    this.#session = this.#connect();
    this.done = new Promise((resolve) => (this.#finish = resolve));
    this.#fill();
  }

  #connect(): ClientHttp2Session {
    const session = connect(this.#url, this.#ca === undefined ? {} : { ca: this.#ca });
    session.on("error", () => {});
    return session;
  }

  #fill(): void {
    while (this.#underWay < this.#window) {
      const job = this.#next();
      if (job === undefined) break;
      this.#underWay++;
      this.#send(job, 0);
    }
    if (this.#underWay === 0) this.#session.close(() => this.#finish());
  }

  #send(job: GrpcJob, cuts: number): void {
    if (this.#session.closed || this.#session.destroyed) this.#session = this.#connect();
    const stream = this.#session.request(job.headers);
    const sentAt = performance.now();
    const got: { headers?: IncomingHttpHeaders; trailers?: IncomingHttpHeaders; why?: string } = {};
    const chunks: Buffer[] = [];
    stream.on("response", (headers) => (got.headers = headers));
    stream.on("trailers", (headers) => (got.trailers = headers));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", (error) => (got.why = error.message));
    stream.on("close", () => {
      const answer = got.headers && answerOf(got.headers, got.trailers, Buffer.concat(chunks));
      if (answer) job.answered(answer, performance.now() - sentAt);
      else if (cuts === 1) job.cut(got.why ?? `reset ${stream.rstCode}`);
      else return this.#send(job, 1);
      this.#underWay--;
      this.#fill();
    });
    stream.end(job.body);
  }
}

function answerOf(headers: IncomingHttpHeaders, trailers: IncomingHttpHeaders = {}, body: Buffer): GrpcAnswer {
  const code = trailers["grpc-status"] ?? headers["grpc-status"];
  const message = trailers["grpc-message"] ?? headers["grpc-message"] ?? "";
  return {
    status: Number(headers[":status"]),
    code: code === undefined ? undefined : Number(code),
    message: String(message),
    body,
  };
}
