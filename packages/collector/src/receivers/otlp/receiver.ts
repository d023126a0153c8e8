import type { IncomingMessage, ServerResponse } from "node:http";
import {
  OtlpError,
  encodePartialSuccess,
  encodeStatus,
  jsonToProtobuf,
  scanTraces,
  type SpanIndex,
} from "@otel-audit/otlp";
import type { CreateContext, Next, Receiver, Rejection } from "../../component.ts";
import { isLoopbackHostHeader, offsetPort } from "../../config/address.ts";
import { HttpServer } from "../../service/http-server.ts";
import { VERSION } from "../../service/version.ts";
import { TraceBatch } from "../../trace-batch.ts";
import { readBody, type Body } from "./body.ts";
import type { OtlpConfig } from "./config.ts";
import { HttpError } from "./http-error.ts";
import { InFlight } from "./in-flight.ts";

/** By this header a producer knows that its records arrive at an audit collector and not at some other backend. */
const COLLECTOR_HEADER = "otel-audit-collector";
/** Seconds after which a refused client should come again. */
const RETRY_AFTER_S = "1";
/** Milliseconds for which the rest of a refused body is read and thrown away, so that the client sees the answer. */
const LINGER_MS = 1_000;
/** Indexes kept for reuse, and how large one may be: more is left to the garbage collector. */
const KEEP_INDEXES = 64;
const KEEP_INDEX_SPANS = 16_384;

/** Milliseconds between two log lines about refused requests. */
const WARN_EVERY_MS = 1_000;

type Encoding = "application/x-protobuf" | "application/json";

/** OTLP/HTTP on `/v1/traces` (OTLP specification 1.x, "OTLP/HTTP"). */
export class OtlpReceiver implements Receiver {
  readonly #server: HttpServer;
  readonly #maxBody: number;
  readonly #inFlight: InFlight;
  readonly #next: Next;
  readonly #context: CreateContext;
  readonly #indexes: SpanIndex[] = [];
  #stopping = false;
  /** Refusals since the last line about them. */
  #refusals = 0;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(config: OtlpConfig, next: Next, context: CreateContext) {
    const { http } = config.protocols;
    this.#maxBody = http.max_request_body_size;
    this.#inFlight = new InFlight(http.max_in_flight_bytes);
    this.#next = next;
    this.#context = context;
    const address = offsetPort(http.endpoint, context.portOffset);
    this.#server = new HttpServer(
      `receivers::${context.id}::protocols::http::endpoint`,
      address,
      (request, response) => {
        void this.#handle(request, response);
      },
    );
  }

  get endpoint(): string | undefined {
    return this.#server.url;
  }

  start(): Promise<void> {
    return this.#server.listen();
  }

  async shutdown(): Promise<void> {
    this.#stopping = true;
    await this.#server.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader(COLLECTOR_HEADER, VERSION);
    let encoding: Encoding = "application/json";
    try {
      checkRequest(request, this.#next);
      encoding = contentType(request);
      const rejections = await this.#receive(request, encoding);
      const rejected = countRejected(rejections);
      const message = [...new Set(rejections.map(({ reason }) => reason))].join("; ");
      this.#respond(
        response,
        200,
        encoding,
        encoding === "application/json"
          ? partialSuccessJson(rejected, message)
          : encodePartialSuccess(rejected, message),
      );
    } catch (error) {
      this.#refuse(request, response, encoding, toHttpError(error));
    }
  }

  async #receive(request: IncomingMessage, encoding: Encoding): Promise<readonly Rejection[]> {
    if (this.#stopping) throw new HttpError(503, "the collector is shutting down; send it again");
    const reservation = this.#inFlight.reserve();
    try {
      const { memory: pool } = this.#context;
      const body = await readBody(request, { maxBody: this.#maxBody, reservation, pool });
      if (encoding !== "application/json") return await this.#take(body);
      const bytes = jsonToProtobuf(body.bytes);
      body.memory?.release();
      if (!reservation.grow(bytes.length)) throw reservation.refusal();
      return await this.#take({ bytes });
    } finally {
      reservation.release();
    }
  }

  /** Hands a body on. Its memory and the index serve other requests afterwards, but not when anything went wrong. */
  async #take({ bytes, memory }: Body): Promise<readonly Rejection[]> {
    const index = scanTraces(bytes, this.#indexes.pop());
    if (index.count === 0) return [];
    const rejections = await this.#consume(TraceBatch.of(index, memory && { memory }));
    memory?.release();
    if (this.#indexes.length < KEEP_INDEXES && index.start.length <= KEEP_INDEX_SPANS) this.#indexes.push(index);
    return rejections;
  }

  async #consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const labels = { receiver: id, transport: "http" };
    const { spans } = batch;
    try {
      const rejections = await this.#next.traces!.consume(batch);
      // Several pipelines may each have refused the same span.
      const rejected = Math.min(countRejected(rejections), spans);
      telemetry.accepted.traces.inc(labels, spans - rejected);
      if (rejected > 0) telemetry.failed.traces.inc(labels, rejected);
      return rejections;
    } catch (error) {
      telemetry.refused.traces.inc(labels, spans);
      throw error;
    }
  }

  /** One line a second, whatever the load: a full disk must not fill another one with log lines. */
  #warn(error: HttpError): void {
    this.#refusals++;
    if (performance.now() - this.#warnedAt < WARN_EVERY_MS) return;
    this.#context.log.warn({ err: error.cause ?? error, requests: this.#refusals }, "requests are refused");
    this.#warnedAt = performance.now();
    this.#refusals = 0;
  }

  #refuse(request: IncomingMessage, response: ServerResponse, encoding: Encoding, error: HttpError): void {
    if (error.status >= 500) this.#warn(error);
    if (response.destroyed) return;
    if (error.status === 503) response.setHeader("retry-after", RETRY_AFTER_S);
    const status =
      encoding === "application/json"
        ? JSON.stringify({ code: error.rpcCode, message: error.message })
        : encodeStatus(error.rpcCode, error.message);
    if (request.complete) this.#respond(response, error.status, encoding, status);
    else refuseRest(request, response, error.status, encoding, status);
  }

  #respond(response: ServerResponse, status: number, encoding: Encoding, body: string | Uint8Array): void {
    // An idle connection would hold up the shutdown.
    if (this.#stopping) response.setHeader("connection", "close");
    response.writeHead(status, { "content-type": encoding, "content-length": Buffer.byteLength(body) });
    response.end(body);
  }
}

/**
 * Answers before the body is complete. Closing at once would reset the connection, and a client that is still sending would
 * never see why: the rest is read for a moment and thrown away. The connection cannot serve another request.
 */
function refuseRest(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  encoding: Encoding,
  body: string | Uint8Array,
): void {
  response.writeHead(status, {
    connection: "close",
    "content-type": encoding,
    "content-length": Buffer.byteLength(body),
  });
  response.write(body);
  const end = (): void => {
    clearTimeout(late);
    response.end(() => request.destroy());
  };
  const late = setTimeout(end, LINGER_MS);
  request.once("end", end).once("close", end).resume();
}

function checkRequest(request: IncomingMessage, next: Next): void {
  if (!isLoopbackHostHeader(request.headers.host)) {
    throw new HttpError(403, "the Host header does not name this machine");
  }
  const path = request.url?.split("?", 1)[0];
  if (path === "/v1/logs" || path === "/v1/metrics") {
    throw new HttpError(404, `${path} is not received here: this collector takes traces on /v1/traces`);
  }
  if (path !== "/v1/traces" || !next.traces) throw new HttpError(404, "not found; OTLP traces go to /v1/traces");
  if (request.method !== "POST") throw new HttpError(405, `method ${request.method} is not allowed; use POST`);
}

function contentType(request: IncomingMessage): Encoding {
  const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
  if (type === "application/x-protobuf" || type === "application/json") return type;
  throw new HttpError(
    415,
    `Content-Type "${type ?? ""}" is not supported; send application/x-protobuf or application/json`,
  );
}

/** What is our fault or will pass is 503 (retryable); what the client has to change is 400. */
function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof OtlpError) return new HttpError(400, error.message, { cause: error });
  return new HttpError(503, "the collector cannot take this request now; send it again", { cause: error });
}

function countRejected(rejections: readonly Rejection[]): number {
  return rejections.reduce((sum, { spans }) => sum + spans, 0);
}

function partialSuccessJson(rejected: number, message: string): string {
  return JSON.stringify(
    rejected === 0 && message === ""
      ? {}
      : { partialSuccess: { rejectedSpans: String(rejected), errorMessage: message } },
  );
}
