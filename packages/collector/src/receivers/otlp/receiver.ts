import type { IncomingMessage, ServerResponse } from "node:http";
import {
  OtlpError,
  encodePartialSuccess,
  encodeStatus,
  jsonToProtobuf,
  scanTraces,
  type SpanIndex,
} from "@otel-audit/otlp";
import type { Consumer, CreateContext, Receiver, Rejection } from "../../component.ts";
import { isLoopbackHostHeader, offsetPort } from "../../config/address.ts";
import { HttpServer } from "../../service/http-server.ts";
import { VERSION } from "../../service/version.ts";
import { InFlight, readBody } from "./body.ts";
import type { OtlpConfig } from "./config.ts";
import { HttpError } from "./http-error.ts";

/** By this header a producer knows that its records arrive at an audit collector and not at some other backend. */
const COLLECTOR_HEADER = "otel-audit-collector";
/** Seconds after which a refused client should come again. */
const RETRY_AFTER_S = "1";

type Encoding = "application/x-protobuf" | "application/json";

/** OTLP/HTTP on `/v1/traces` (OTLP specification 1.x, "OTLP/HTTP"). */
export class OtlpReceiver implements Receiver {
  readonly #server: HttpServer;
  readonly #maxBody: number;
  readonly #inFlight: InFlight;
  readonly #next: Consumer;
  readonly #context: CreateContext;
  #stopping = false;

  constructor(config: OtlpConfig, next: Consumer, context: CreateContext) {
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
      checkRequest(request);
      encoding = contentType(request);
      const rejections = await this.#receive(request, encoding);
      const rejected = rejections.reduce((sum, { spans }) => sum + spans, 0);
      const message = [...new Set(rejections.map(({ reason }) => reason))].join("; ");
      respond(
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
    if (this.#stopping) throw new HttpError(503, "the collector is shutting down");
    const body = await readBody(request, this.#maxBody, this.#inFlight);
    this.#inFlight.take(body.length);
    try {
      const index = scanTraces(encoding === "application/json" ? jsonToProtobuf(body) : body);
      return index.count === 0 ? [] : await this.#consume(index);
    } finally {
      this.#inFlight.release(body.length);
    }
  }

  async #consume(index: SpanIndex): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const labels = { receiver: id, transport: "http" };
    try {
      const rejections = await this.#next.consume({ index });
      const rejected = rejections.reduce((sum, { spans }) => sum + spans, 0);
      telemetry.acceptedSpans.inc(labels, index.count - rejected);
      if (rejected > 0) telemetry.failedSpans.inc(labels, rejected);
      return rejections;
    } catch (error) {
      telemetry.refusedSpans.inc(labels, index.count);
      throw error;
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, encoding: Encoding, error: HttpError): void {
    if (error.status >= 500) this.#context.log.warn({ err: error.cause ?? error }, "a request was refused");
    if (response.destroyed) return;
    if (error.status === 503) response.setHeader("retry-after", RETRY_AFTER_S);
    // What is left of the body is not read: the connection cannot serve another request.
    if (!request.complete) {
      response.setHeader("connection", "close");
      response.once("finish", () => request.destroy());
    }
    const status =
      encoding === "application/json"
        ? JSON.stringify({ code: error.rpcCode, message: error.message })
        : encodeStatus(error.rpcCode, error.message);
    respond(response, error.status, encoding, status);
  }
}

function checkRequest(request: IncomingMessage): void {
  if (!isLoopbackHostHeader(request.headers.host)) {
    throw new HttpError(403, "the Host header does not name this machine");
  }
  const path = request.url?.split("?", 1)[0];
  if (path === "/v1/logs" || path === "/v1/metrics") {
    throw new HttpError(404, `${path} is not received here: this collector takes traces on /v1/traces`);
  }
  if (path !== "/v1/traces") throw new HttpError(404, "not found; OTLP traces go to /v1/traces");
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

function respond(response: ServerResponse, status: number, encoding: Encoding, body: string | Uint8Array): void {
  response.writeHead(status, { "content-type": encoding, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function partialSuccessJson(rejected: number, message: string): string {
  return JSON.stringify(
    rejected === 0 && message === ""
      ? {}
      : { partialSuccess: { rejectedSpans: String(rejected), errorMessage: message } },
  );
}
