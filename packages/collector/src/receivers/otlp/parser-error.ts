import { STATUS_CODES, type ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Encoding } from "./intake.ts";
import { encodeRefusal } from "./refusal.ts";
import { RequestError, type RefusalKind } from "./request-error.ts";

/** Milliseconds for which a client may go on sending after its answer, so that it is not reset before it has read that. */
const LINGER_MS = 1_000;

/** What Node's HTTP parser says of what is no request. */
export interface ParserError {
  readonly code?: string | undefined;
  /** What it was reading. */
  readonly rawPacket?: Buffer;
}

/** A request that was handed to us, of the connection that an error is about. */
export interface OpenRequest {
  readonly response: ServerResponse;
  readonly encoding: Encoding;
}

/** A CONNECT request, which Node hands over as a bare connection. */
export const CONNECT: ParserError = { code: "CONNECT" };

const REFUSALS: Readonly<Record<string, readonly [RefusalKind, string]>> = {
  CONNECT: ["method_not_allowed", "method CONNECT is not allowed; use POST"],
  HPE_HEADER_OVERFLOW: ["header_too_large", "the request's header is too large"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["too_large", "the extensions of a chunk are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["timeout", "the request was not complete in time"],
};
const MALFORMED = ["invalid", "this is not a request of HTTP 1.1"] as const;

const answered = new WeakSet<Duplex>();

/** Answers what Node's parser refuses, as any other request is answered: with a google.rpc.Status. */
export function answerParserError(error: ParserError, socket: Duplex, open?: OpenRequest): void {
  if (answered.has(socket)) return;
  const { code = "" } = error;
  const refusal = REFUSALS[code] ?? (code.startsWith("HPE_") ? MALFORMED : undefined);
  // Who has asked for nothing waits for no answer: a client keeps such a connection for later.
  const isSilent = socket instanceof Socket && socket.bytesRead === 0;
  if (refusal === undefined || isSilent || !socket.writable) {
    socket.destroy();
    return;
  }
  answered.add(socket);
  const current = open?.response.writableFinished ? undefined : open;
  if (current === undefined || (!current.response.headersSent && !current.response.req.complete)) {
    write(socket, new RequestError(...refusal), current?.encoding ?? guessEncoding(error.rawPacket));
    return;
  }
  // It came after a request that is still being handled: that one's answer is the last one.
  if (!current.response.headersSent) current.response.setHeader("connection", "close");
  current.response.once("finish", () => linger(socket));
}

function write(socket: Duplex, error: RequestError, encoding: Encoding): void {
  const { httpStatus: status, retryAfter } = error;
  const body = Buffer.from(encodeRefusal(error, encoding));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Connection: close",
    `Content-Type: ${encoding}`,
    `Content-Length: ${body.length}`,
    ...(retryAfter === undefined ? [] : [`Retry-After: ${retryAfter}`]),
  ];
  socket.write(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), body]));
  linger(socket);
}

function linger(socket: Duplex): void {
  socket.end();
  const late = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(late));
  socket.on("error", () => {});
  socket.resume();
}

/** The header could not be read, but it may say what its sender reads. */
function guessEncoding(packet: Buffer | undefined): Encoding {
  const head = packet?.subarray(0, 16_384).toString("latin1") ?? "";
  return /^content-type:\s*application\/x-protobuf/im.test(head) ? "application/x-protobuf" : "application/json";
}
