import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { decodeTraces, jsonToProtobuf, type Attributes, type SpanData, type TracesData } from "@otel-audit/otlp";
import { closeServer, listen } from "./listen.ts";

/** A span with what stood around it. */
export interface SinkSpan extends SpanData {
  readonly resource: Attributes;
  readonly scopeName: string;
}

export interface SinkRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly encoding: "protobuf" | "json";
  /** ExportTraceServiceRequest, inflated; of a JSON request too. */
  readonly protobuf: Uint8Array;
  readonly traces: TracesData;
  /** What the sink answered; 0 if it cut the connection. */
  readonly status: number;
}

export interface SinkAnswer {
  /** 503 by default. */
  readonly status?: number;
  /** Seconds, for the header Retry-After. */
  readonly retryAfter?: number;
  /** Keep the spans although the answer says no: an acknowledgement that got lost. */
  readonly keep?: boolean;
  /** Cut the connection instead of answering. */
  readonly destroy?: boolean;
  /** Milliseconds to wait before the answer. */
  readonly delayMs?: number;
}

export interface OtlpSink {
  readonly port: number;
  /** `http://127.0.0.1:<port>`, for OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** `<url>/v1/traces`, for an exporter's `url` option. */
  readonly tracesUrl: string;
  /** Every well-formed request to /v1/traces, in order. */
  readonly requests: readonly SinkRequest[];
  /** The spans that were accepted, in order. */
  readonly spans: readonly SinkSpan[];
  /** The next `times` (1) requests get this answer. */
  failNext(answer: SinkAnswer, times?: number): void;
  /** All requests get this answer, until it is undefined. */
  failAlways(answer: SinkAnswer | undefined): void;
  /** Resolves once at least `count` spans were accepted; rejects after `timeoutMs` (30 s) and says what there is. */
  waitForSpans(count: number, timeoutMs?: number): Promise<readonly SinkSpan[]>;
  /** Forgets requests, spans and programmed answers. */
  clear(): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface OtlpSinkOptions {
  /** 0 (the default) is any free port. */
  readonly port?: number;
  /** Added to every response, for example `{ "otel-audit-collector": "test" }` to pass for a collector of ours. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Starts an OTLP/HTTP receiver of traces (protobuf and JSON, gzip) on 127.0.0.1 that keeps what it gets. */
export async function startOtlpSink(options: OtlpSinkOptions = {}): Promise<OtlpSink> {
  const sink = new Sink(options);
  await sink.start();
  return sink;
}

class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string, cause?: unknown) {
    super(message, { cause });
    this.status = status;
  }
}

class Sink implements OtlpSink {
  readonly requests: SinkRequest[] = [];
  readonly spans: SinkSpan[] = [];
  port = 0;
  private readonly options: OtlpSinkOptions;
  private readonly next: SinkAnswer[] = [];
  private always: SinkAnswer | undefined;
  private readonly waiting = new Set<() => void>();
  private readonly server = createServer((request, response) => {
    void this.serve(request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });

  constructor(options: OtlpSinkOptions) {
    this.options = options;
  }

  async start(): Promise<void> {
    this.port = await listen(this.server, this.options.port);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get tracesUrl(): string {
    return `${this.url}/v1/traces`;
  }

  failNext(answer: SinkAnswer, times = 1): void {
    for (let i = 0; i < times; i++) this.next.push(answer);
  }

  failAlways(answer: SinkAnswer | undefined): void {
    this.always = answer;
  }

  async waitForSpans(count: number, timeoutMs = 30_000): Promise<readonly SinkSpan[]> {
    const deadline = Date.now() + timeoutMs;
    while (this.spans.length < count) {
      const left = deadline - Date.now();
      if (left <= 0) {
        const names = this.spans.map((span) => span.name).join(", ");
        throw new Error(`${this.spans.length} of ${count} spans arrived within ${timeoutMs} ms: ${names}`);
      }
      await this.arrival(left);
    }
    return this.spans;
  }

  clear(): void {
    this.requests.length = 0;
    this.spans.length = 0;
    this.next.length = 0;
    this.always = undefined;
  }

  close(): Promise<void> {
    return closeServer(this.server);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private arrival(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.waiting.add(done);
    });
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { encoding, protobuf } = await readExport(request);
      const traces = decode(protobuf);
      const answer = this.next.shift() ?? this.always;
      const status = answer === undefined ? 200 : answer.destroy ? 0 : (answer.status ?? 503);
      const path = request.url ?? "";
      this.requests.push({ path, headers: request.headers, encoding, protobuf, traces, status });
      if (answer?.delayMs !== undefined) await sleep(answer.delayMs);
      if (status === 200 || answer?.keep) this.keep(traces);
      if (answer?.destroy) response.destroy();
      else this.answer(response, status, encoding, answer?.retryAfter);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // The rest of a refused body is of no use, and a client that still sends must not wait.
      request.resume();
      response.writeHead(error.status, { ...this.options.headers, "content-type": "text/plain" });
      response.end(error.message);
    }
  }

  private keep(traces: TracesData): void {
    for (const { resource, scopeSpans } of traces.resourceSpans) {
      for (const { scope, spans } of scopeSpans) {
        for (const span of spans) {
          this.spans.push({ ...span, resource: resource?.attributes ?? {}, scopeName: scope?.name ?? "" });
        }
      }
    }
    for (const wake of this.waiting) wake();
  }

  private answer(response: ServerResponse, status: number, encoding: string, retryAfter: number | undefined): void {
    response.writeHead(status, {
      ...this.options.headers,
      "content-type": encoding === "json" ? "application/json" : "application/x-protobuf",
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
    });
    // An ExportTraceServiceResponse, or a google.rpc.Status, without any field set.
    response.end(encoding === "json" ? "{}" : undefined);
  }
}

async function readExport(request: IncomingMessage): Promise<Pick<SinkRequest, "encoding" | "protobuf">> {
  if (request.url !== "/v1/traces") throw new Refusal(404, `nothing is at ${request.url}`);
  if (request.method !== "POST") throw new Refusal(405, `${request.method} is not POST`);
  const type = request.headers["content-type"]?.split(";")[0]?.trim();
  if (type !== "application/x-protobuf" && type !== "application/json") throw new Refusal(415, `content type ${type}`);
  const encoding = type === "application/json" ? "json" : "protobuf";
  const body = inflate(await buffer(request), request.headers["content-encoding"]);
  return { encoding, protobuf: encoding === "json" ? translate(body) : body };
}

function inflate(body: Buffer, encoding: string | undefined): Buffer {
  if (encoding === undefined || encoding === "identity") return body;
  if (encoding !== "gzip") throw new Refusal(415, `content encoding ${encoding}`);
  return orRefuse(() => gunzipSync(body));
}

function translate(json: Buffer): Uint8Array {
  return orRefuse(() => jsonToProtobuf(json));
}

function decode(protobuf: Uint8Array): TracesData {
  return orRefuse(() => decodeTraces(protobuf));
}

function orRefuse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new Refusal(400, error instanceof Error ? error.message : String(error), error);
  }
}
