import type { IncomingMessage } from "node:http";
import { createGunzip, createInflate, type ZlibOptions } from "node:zlib";
import type { Memory, MemoryPool } from "../../memory.ts";
import { HttpError } from "./http-error.ts";
import type { Reservation } from "./in-flight.ts";

/** A larger output chunk inflates 1.7 times faster than zlib's default of 16 KiB; zlib takes it at once, even for a small body. */
const MIN_INFLATE_CHUNK = 16 * 1024;
const MAX_INFLATE_CHUNK = 512 * 1024;
/** What OTLP inflates to, as a multiple of its compressed size; only a guess for the first chunk. */
const INFLATE_GUESS = 8;

/** What a request holds in memory until it is answered. */
export interface BodyLimits {
  /** Bytes of one body, before and after decompression. */
  readonly maxBody: number;
  readonly reservation: Reservation;
  readonly pool: MemoryPool;
}

export interface Body {
  readonly bytes: Uint8Array;
  /** What the bytes lie in, if they are to be used again. */
  readonly memory?: Memory;
}

/**
 * Reads a request's body and undoes its `Content-Encoding`. Every byte is counted in the reservation when it arrives or is
 * inflated, not when a client announces it.
 *
 * @throws HttpError 413 over the limit, 415 for an unknown encoding, 400 for broken compression or a cut request, 503
 *   when there is no room for it now
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<Body> {
  const encoding = request.headers["content-encoding"]?.trim().toLowerCase() ?? "identity";
  if (!["identity", "", "gzip", "deflate"].includes(encoding)) {
    throw new HttpError(415, `Content-Encoding "${encoding}" is not supported; send identity, gzip or deflate`);
  }
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > limits.maxBody) throw tooLarge(limits.maxBody, `${announced} bytes announced`);
  const chunks = await receive(request, limits);
  if (encoding === "identity" || encoding === "") return join(chunks, limits.pool);
  return join(await inflate(encoding === "gzip" ? "gzip" : "deflate", chunks, limits), limits.pool);
}

/** Events, because an async iterator over a request costs more than reading it. */
function receive(request: IncomingMessage, { maxBody, reservation }: BodyLimits): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (error?: HttpError): void => {
      request.off("data", take).off("end", end).off("close", cut).off("error", cut);
      // An error that comes later has nobody to listen to it and would end the process.
      request.on("error", () => {});
      if (error) reject(error);
      else resolve(chunks);
    };
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > maxBody) settle(tooLarge(maxBody, "sent"));
      else if (!reservation.grow(chunk.length)) settle(reservation.refusal());
    };
    const end = (): void => settle();
    const cut = (): void => settle(new HttpError(400, "the request ended before its body was complete"));
    request.on("data", take).once("end", end).once("close", cut).once("error", cut);
  });
}

function inflate(
  encoding: "gzip" | "deflate",
  chunks: readonly Buffer[],
  { maxBody, reservation }: BodyLimits,
): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const compressed = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const chunkSize = Math.min(Math.max(compressed * INFLATE_GUESS, MIN_INFLATE_CHUNK), MAX_INFLATE_CHUNK);
    const options: ZlibOptions = { chunkSize };
    const stream = encoding === "gzip" ? createGunzip(options) : createInflate(options);
    const inflated: Buffer[] = [];
    let length = 0;
    const fail = (error: HttpError): void => {
      reject(error);
      stream.destroy();
    };
    stream.on("data", (chunk: Buffer) => {
      length += chunk.length;
      inflated.push(chunk);
      if (length > maxBody) fail(tooLarge(maxBody, "after decompression"));
      else if (!reservation.grow(chunk.length)) fail(reservation.refusal());
    });
    stream.once("end", () => resolve(inflated));
    stream.once("error", (error) => reject(new HttpError(400, `the body is not valid ${encoding}: ${error.message}`)));
    for (const chunk of chunks) stream.write(chunk);
    stream.end();
  });
}

/** One piece of memory from the pool; a body that came in one chunk stays where it is. */
function join(chunks: readonly Buffer[], pool: MemoryPool): Body {
  if (chunks.length === 1) return { bytes: chunks[0]! };
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const memory = pool.take(length);
  let at = 0;
  for (const chunk of chunks) {
    memory.buffer.set(chunk, at);
    at += chunk.length;
  }
  return { bytes: memory.buffer.subarray(0, length), memory };
}

function tooLarge(limit: number, how: string): HttpError {
  return new HttpError(
    413,
    `the body is larger than ${limit} bytes (max_request_body_size), ${how}; send smaller batches`,
  );
}
