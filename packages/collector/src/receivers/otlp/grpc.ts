import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { encodePartialSuccess, encodeStatus } from "@otel-audit/otlp";
import type { CreateContext, Signal } from "../../component.ts";
import { Certificates } from "../../service/certificates.ts";
import { MAX_HEADER_BYTES } from "../../service/http-server.ts";
import type { Place } from "../../service/listener.ts";
import { VERSION } from "../../service/version.ts";
import type { GrpcConfig } from "./config.ts";
import { Doorkeeper } from "./doorkeeper.ts";
import { FRAME_BYTES, frame, percentEncode, unframe } from "./grpc-frame.ts";
import { GrpcServer } from "./grpc-server.ts";
import { COLLECTOR_HEADER } from "./http.ts";
import { CODING_NAMES, parseCoding } from "./inflate.ts";
import type { Intake, Outcome } from "./intake.ts";
import { RequestError } from "./request-error.ts";

const SIGNALS: ReadonlyMap<string, Signal> = new Map([
  ["/opentelemetry.proto.collector.trace.v1.TraceService/Export", "traces"],
  ["/opentelemetry.proto.collector.logs.v1.LogsService/Export", "logs"],
  ["/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", "metrics"],
]);
const CONTENT_TYPE = /^application\/grpc(?:\+proto)?(?:\s*;|$)/i;
/** Characters of a message; a header has 16 KiB. */
const MAX_MESSAGE = 2_000;

const HEADERS: OutgoingHttpHeaders = {
  ":status": 200,
  "content-type": "application/grpc",
  "grpc-accept-encoding": CODING_NAMES,
  [COLLECTOR_HEADER]: VERSION,
};

/** OTLP/gRPC: the unary method Export of three services (OTLP specification 1.x, "OTLP/gRPC"). */
export class OtlpGrpc {
  readonly #server: GrpcServer;
  readonly #maxBody: number;
  readonly #intake: Intake;
  readonly #doorkeeper: Doorkeeper;

  constructor(config: GrpcConfig, place: Place, intake: Intake, context: CreateContext) {
    const path = ["receivers", context.id, "protocols", "grpc"];
    this.#maxBody = config.max_recv_msg_size_mib * 1024 * 1024;
    this.#intake = intake;
    this.#doorkeeper = new Doorkeeper(path, config, context);
    const what = path.join("::");
    const certificates = config.tls && new Certificates(`${what}::tls`, config.tls, context);
    this.#server = new GrpcServer(
      `${what}::endpoint`,
      place,
      config,
      (stream, headers, rawHeaders) => this.#handle(stream, headers, rawHeaders),
      intake.room("grpc"),
      certificates,
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

  async #handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): Promise<void> {
    try {
      if (!CONTENT_TYPE.test(headers["content-type"] ?? "")) {
        // Not a gRPC client: it looks at HTTP's status.
        stream.respond({ ...HEADERS, ":status": 415 }, { endStream: true });
        return;
      }
      checkHeaderSize(rawHeaders);
      const host = headers[":authority"] ?? headers.host;
      const socket = this.#server.socketOf(stream);
      const principal = this.#doorkeeper.admit({ socket, host, rawHeaders });
      this.#server.connections.admitted(socket);
      const signal = this.#signal(headers);
      const coding = parseCoding(headers["grpc-encoding"]?.toString());
      const outcome = await this.#intake.take({
        signal,
        transport: "grpc",
        encoding: "application/x-protobuf",
        principal,
        stream,
        overhead: FRAME_BYTES,
        maxBody: this.#maxBody,
        limitName: "max_recv_msg_size_mib",
        unwrap: (chunks) => unframe(chunks, coding),
      });
      respond(stream, outcome);
    } catch (error) {
      refuse(stream, this.#intake.refusal(error));
    }
  }

  #signal({ ":path": path = "", ":method": method }: IncomingHttpHeaders): Signal {
    const signal = SIGNALS.get(path);
    if (signal === undefined) throw new RequestError("not_found", `unknown method ${path.slice(0, 200)}`);
    if (method !== "POST") throw new RequestError("method_not_allowed", `method ${method} is not allowed; use POST`);
    this.#intake.check(signal, path);
    return signal;
  }
}

/** Node holds a client to this only when it has acknowledged our settings, and until then to 64 KiB. */
function checkHeaderSize(rawHeaders: readonly string[]): void {
  let size = 0;
  for (const part of rawHeaders) size += part.length;
  if (size <= MAX_HEADER_BYTES) return;
  throw new RequestError("header_too_large", `the request's header has ${size} bytes, more than ${MAX_HEADER_BYTES}`);
}

function respond(stream: ServerHttp2Stream, { rejected, message }: Outcome): void {
  if (stream.destroyed || stream.closed) return;
  stream.respond(HEADERS, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(frame(encodePartialSuccess(rejected, message)));
}

/** "Trailers-Only": the status is in the only header block. */
function refuse(stream: ServerHttp2Stream, error: RequestError): void {
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  const message = error.message.slice(0, MAX_MESSAGE);
  const { grpcCode: code, retryAfterMs } = error;
  const details = retryAfterMs !== undefined && Buffer.from(encodeStatus(code, message, retryAfterMs));
  stream.respond(
    {
      ...HEADERS,
      "grpc-status": String(code),
      "grpc-message": percentEncode(message),
      // Without padding, as the specification asks senders to write it.
      ...(details && { "grpc-status-details-bin": details.toString("base64").replace(/=+$/, "") }),
    },
    { endStream: true },
  );
  // The rest of the body is of no use: the client need not send it.
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}
