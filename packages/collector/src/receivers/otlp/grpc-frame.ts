import { RequestError } from "./request-error.ts";
import type { Chunks } from "./in-flight.ts";
import type { Coding } from "./inflate.ts";

/** A flag (compressed or not) and the length of the message. */
export const FRAME_BYTES = 5;

/**
 * Takes the only message of a unary call out of its frame (gRPC over HTTP/2, "Length-Prefixed-Message").
 *
 * @param coding of messages that say they are compressed
 * @throws RequestError when there is not exactly one message
 */
export function unframe(chunks: Chunks, coding: Coding): { readonly chunks: Chunks; readonly coding: Coding } {
  const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const first = chunks[0];
  // The frame's head may itself be cut into pieces.
  const whole = first && first.length >= FRAME_BYTES ? chunks : [Buffer.concat(chunks)];
  const head = whole[0]!;
  if (total === 0) throw new RequestError("message_count", "the request has no message");
  if (total < FRAME_BYTES) throw new RequestError("malformed", `the request ends within a frame: ${total} bytes`);
  const flag = head[0]!;
  const length = head.readUInt32BE(1);
  if (flag > 1) throw new RequestError("malformed", `the message's flag is ${flag}, not 0 or 1`);
  if (length !== total - FRAME_BYTES)
    throw new RequestError(
      length < total - FRAME_BYTES ? "message_count" : "malformed",
      `the message says that it has ${length} bytes, and ${total - FRAME_BYTES} came; a request is one message`,
    );
  if (flag === 1 && coding === "identity")
    throw new RequestError("malformed", "the message's flag says compressed, and grpc-encoding does not say how");
  const rest = head.subarray(FRAME_BYTES);
  return {
    chunks: rest.length > 0 || whole.length === 1 ? [rest, ...whole.slice(1)] : whole.slice(1),
    coding: flag === 1 ? coding : "identity",
  };
}

/** One message, not compressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(FRAME_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, FRAME_BYTES);
  return framed;
}

/** Text for `grpc-message`: UTF-8, with what is not printable ASCII, and "%", percent-encoded. */
export function percentEncode(text: string): string {
  return Buffer.from(text, "utf8")
    .toString("latin1")
    .replaceAll(/[^ -$&-~]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}
