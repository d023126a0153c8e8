import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { encodePartialSuccess } from "@otel-audit/otlp";
import type { CreateContext, Signal } from "../../component.ts";
import { Certificates } from "../../service/certificates.ts";
import { HttpServer } from "../../service/http-server.ts";
import type { Place } from "../../service/listener.ts";
import { VERSION } from "../../service/version.ts";
import type { HttpConfig } from "./config.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { parseCoding } from "./inflate.ts";
import type { Encoding, Intake, Outcome } from "./intake.ts";
import { CONNECT, answerParserError, type OpenRequest, type ParserError } from "./parser-error.ts";
import { encodeRefusal } from "./refusal.ts";
import { RequestError, tooLarge } from "./request-error.ts";

/** By this header a producer knows that its records arrive at an audit collector and not at some other backend. */
export const COLLECTOR_HEADER = "otel-audit-collector";
/** Milliseconds for which the rest of a refused body is read and thrown away, so that the client sees the answer. */
const LINGER_MS = 1_000;
/** Node reads two megabytes of small requests in one go, and everybody else waits; no OTLP client sends the next one unasked. */
const MAX_UNANSWERED = 100;
const LIMIT_NAME = "max_request_body_size";
const ABSOLUTE_TARGET = /^https?:\/\/([^/?#]*)(.*)$/i;

const SIGNALS: ReadonlyMap<string, Signal> = new Map([
  ["/v1/traces", "traces"],
  ["/v1/logs", "logs"],
  ["/v1/metrics", "metrics"],
]);
const REJECTED_FIELD: Readonly<Record<Signal, string>> = {
  traces: "rejectedSpans",
  logs: "rejectedLogRecords",
  metrics: "rejectedDataPoints",
};

/** OTLP/HTTP on `/v1/traces`, `/v1/logs` and `/v1/metrics` (OTLP specification 1.x, "OTLP/HTTP"). */
export class OtlpHttp {
  readonly #server: HttpServer;
  readonly #maxBody: number;
  readonly #intake: Intake;
  readonly #doorkeeper: Doorkeeper;
  /** The last request of each connection. */
  readonly #open = new WeakMap<Duplex, OpenRequest>();
  /** Requests of each connection that have no answer yet. */
  readonly #unanswered = new WeakMap<Socket, number>();

  constructor(config: HttpConfig, place: Place, intake: Intake, context: CreateContext) {
    const path = ["receivers", context.id, "protocols", "http"];
    this.#maxBody = config.max_request_body_size;
    this.#intake = intake;
    this.#doorkeeper = new Doorkeeper(path, config, context);
    const what = path.join("::");
    const certificates = config.tls && new Certificates(`${what}::tls`, config.tls, context);
    this.#server = new HttpServer(
      `${what}::endpoint`,
      place,
      (request, response) => void this.#handle(request, response),
      certificates,
      intake.room("http"),
    );
    this.#server.events
      .on("clientError", (error: ParserError, socket: Duplex) =>
        answerParserError(error, socket, this.#open.get(socket)),
      )
      .on("connect", (_request: IncomingMessage, socket: Duplex) => answerParserError(CONNECT, socket))
      // Node would answer 417 without a body.
      .on(
        "checkExpectation",
        (request: IncomingMessage, response: ServerResponse) => void this.#handle(request, response),
      );
  }

  get endpoint(): string | undefined {
    return this.#server.url;
  }

  start(): Promise<void> {
    return this.#server.listen();
  }

  shutdown(): Promise<void> {
    return this.#server.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const type = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase();
    // Whatever is wrong: a client that sends protobuf reads protobuf.
    const encoding: Encoding = type === "application/x-protobuf" ? type : "application/json";
    const { socket, headers, rawHeaders } = request;
    this.#open.set(socket, { response, encoding });
    if (!this.#takesTurn(socket, response)) return;
    try {
      if (headers.host === undefined && request.httpVersion === "1.1")
        throw new RequestError("invalid", "the request has no Host header");
      if (hasTwoHosts(rawHeaders)) throw new RequestError("invalid", "the request has more than one Host header");
      const { host, path } = target(request);
      const principal = this.#doorkeeper.admit({ socket, host, rawHeaders });
      this.#server.connections.admitted(socket);
      const signal = this.#signal(path, request.method);
      if (type !== encoding) throw unsupportedType(type);
      checkTransferCoding(headers["transfer-encoding"]);
      const coding = parseCoding(headers["content-encoding"]);
      const announced = Number(headers["content-length"] ?? 0);
      if (announced > this.#maxBody) throw tooLarge(this.#maxBody, LIMIT_NAME, `${announced} bytes announced`);
      const outcome = await this.#intake.take({
        signal,
        transport: "http",
        encoding,
        principal,
        stream: request,
        overhead: 0,
        maxBody: this.#maxBody,
        limitName: LIMIT_NAME,
        unwrap: (chunks) => ({ chunks, coding }),
      });
      this.#respond(response, 200, encoding, encodeOutcome(outcome, signal, encoding));
    } catch (error) {
      this.#refuse(request, response, encoding, this.#intake.refusal(error));
    }
  }

  /** False when the connection is cut: its client sends request after request without waiting for an answer. */
  #takesTurn(socket: Socket, response: ServerResponse): boolean {
    if (socket.destroyed) return false;
    const unanswered = (this.#unanswered.get(socket) ?? 0) + 1;
    this.#unanswered.set(socket, unanswered);
    response.once("close", () => this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1));
    if (unanswered <= MAX_UNANSWERED) return true;
    socket.destroy();
    return false;
  }

  #signal(path: string, method: string | undefined): Signal {
    const signal = SIGNALS.get(path);
    if (signal === undefined)
      throw new RequestError("not_found", `not found; OTLP goes to ${[...SIGNALS.keys()].join(", ")}`);
    if (method !== "POST") throw new RequestError("method_not_allowed", `method ${method} is not allowed; use POST`);
    this.#intake.check(signal, path);
    return signal;
  }

  #refuse(request: IncomingMessage, response: ServerResponse, encoding: Encoding, error: RequestError): void {
    if (response.destroyed) return;
    const { httpStatus: status, retryAfter, kind } = error;
    if (retryAfter !== undefined) response.setHeader("retry-after", retryAfter);
    if (kind === "unauthenticated") response.setHeader("www-authenticate", "Bearer");
    if (kind === "method_not_allowed") response.setHeader("allow", "POST");
    const body = encodeRefusal(error, encoding);
    if (request.complete) this.#respond(response, status, encoding, body);
    else refuseRest(request, response, status, encoding, body);
  }

  #respond(response: ServerResponse, status: number, encoding: Encoding, body: string | Uint8Array): void {
    // An idle connection would hold up the shutdown.
    if (this.#intake.stopping) response.setHeader("connection", "close");
    response.writeHead(status, answerHeaders(encoding, body));
    // An answer without a body goes out in one piece.
    if (body.length === 0) response.end();
    else response.end(body);
  }
}

/** With `writeHead`: Node keeps and checks what `setHeader` gets one by one. */
function answerHeaders(encoding: Encoding, body: string | Uint8Array): OutgoingHttpHeaders {
  return {
    [COLLECTOR_HEADER]: VERSION,
    "content-type": encoding,
    "content-length": Buffer.byteLength(body),
  };
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
  response.writeHead(status, { connection: "close", ...answerHeaders(encoding, body) });
  response.write(body);
  const end = (): void => {
    clearTimeout(late);
    response.end(() => request.destroy());
  };
  const late = setTimeout(end, LINGER_MS);
  request.once("end", end).once("close", end).resume();
}

/** A target in absolute form names the host itself, and then the header does not count (RFC 9112, 3.2.2). */
function target({ url = "", headers: { host } }: IncomingMessage): { host: string | undefined; path: string } {
  const absolute = url.startsWith("/") ? null : ABSOLUTE_TARGET.exec(url);
  const [named, rest] = absolute ? [absolute[1]!, absolute[2]!] : [host, url];
  return { host: named, path: rest.split("?", 1)[0]! };
}

/** Node takes the chunks apart, and leaves what else was done to the body (RFC 9112, 6.1). */
function checkTransferCoding(header: string | undefined): void {
  if (header === undefined || header.toLowerCase() === "chunked") return;
  throw new RequestError(
    "transfer_coding",
    `Transfer-Encoding "${header.slice(0, 200)}" is not supported; send chunked, and compress by Content-Encoding`,
  );
}

/** Node keeps the first one, and whoever stands before us may have looked at the other (RFC 9112, 3.2). */
function hasTwoHosts(rawHeaders: readonly string[]): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  return hosts > 1;
}

function unsupportedType(type: string | undefined): RequestError {
  return new RequestError(
    "unsupported",
    `Content-Type "${type ?? ""}" is not supported; send application/x-protobuf or application/json`,
  );
}

/** An Export*ServiceResponse; those of all signals have the same fields in protobuf. */
function encodeOutcome({ rejected, message }: Outcome, signal: Signal, encoding: Encoding): string | Uint8Array {
  if (encoding !== "application/json") return encodePartialSuccess(rejected, message);
  if (rejected === 0 && message === "") return "{}";
  return JSON.stringify({
    partialSuccess: { [REJECTED_FIELD[signal]]: String(rejected), errorMessage: message },
  });
}
