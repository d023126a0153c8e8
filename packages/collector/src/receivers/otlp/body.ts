import type { Readable } from "node:stream";
import type { Memory, MemoryPool } from "../../memory.ts";
import type { BodyLimits, Chunks } from "./in-flight.ts";
import { free, inflate, type Coding } from "./inflate.ts";
import { RequestError, tooLarge } from "./request-error.ts";

/** Smaller ones cost no more with the other garbage. */
const LARGE_CHUNK_BYTES = 16 * 1024;
/** Milliseconds that a client may take for its body. */
const BODY_TIMEOUT_MS = 30_000;

/** Not a closure: Node keeps an HTTP/2 stream until the next full collection, and the body that a closure sees with it. */
function ignore(): void {}

export interface Body {
  readonly bytes: Uint8Array;
  /** What the bytes lie in, if they are to be used again. */
  readonly memory?: Memory;
}

/**
 * Reads a request's body. Every byte is counted in the reservation when it arrives, not when a client announces it. By
 * events, because an async iterator over a request costs more than reading it.
 *
 * @param overhead bytes that the protocol puts around a body, and that count for no limit
 * @throws RequestError over the limit, when it is cut or takes too long, and when there is no room for it now
 */
export function receive(stream: Readable, limits: BodyLimits, overhead = 0): Promise<Chunks> {
  const { maxBody, limitName, reservation, timeoutMs = BODY_TIMEOUT_MS } = limits;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (error?: RequestError): void => {
      clearTimeout(late);
      stream.off("data", take).off("end", end).off("close", cut).off("error", cut);
      // An error that comes later has nobody to listen to it and would end the process.
      stream.on("error", ignore);
      if (error) reject(error);
      else resolve(chunks);
    };
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      chunks.push(chunk);
      if (length > maxBody + overhead) settle(tooLarge(maxBody, limitName, "sent"));
      else if (!reservation.grow(chunk.length)) settle(reservation.refusal());
    };
    const end = (): void => settle();
    const cut = (): void => settle(new RequestError("invalid", "the request ended before its body was complete"));
    const late = setTimeout(() => {
      settle(new RequestError("timeout", `the body was not complete within ${timeoutMs} ms`));
    }, timeoutMs);
    stream.on("data", take).once("end", end).once("close", cut).once("error", cut);
    // A client may be gone before its request is looked at, and no event comes any more.
    if (stream.destroyed && !stream.readableEnded) cut();
  });
}

/**
 * Undoes the compression of a body.
 *
 * @throws RequestError over the limit, for broken compression, and when there is no room for it now
 */
export async function decode(chunks: Chunks, coding: Coding, limits: BodyLimits, pool: MemoryPool): Promise<Body> {
  if (coding === "identity") {
    // A body that came in one chunk stays where it is.
    if (chunks.length === 1) return { bytes: chunks[0]! };
    const body = join(chunks, pool);
    giveBack(chunks);
    return body;
  }
  const compressed = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  const inflated = await inflate(compressed, coding, limits);
  const body = join(inflated, pool);
  free(inflated);
  return body;
}

/**
 * Gives back the memory of chunks that fill theirs, as those of HTTP/1 do: nobody else has it. Left to the garbage collector,
 * it would mark the whole heap for every 64 MiB of them. HTTP/2 hands out parts of what it reads.
 */
function giveBack(chunks: Chunks): void {
  for (const { buffer, length } of chunks)
    if (length >= LARGE_CHUNK_BYTES && length === buffer.byteLength && buffer instanceof ArrayBuffer)
      buffer.transfer(0);
}

/** In one piece of memory from the pool. */
function join(chunks: Chunks, pool: MemoryPool): Body {
  const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const memory = pool.take(length);
  let at = 0;
  for (const chunk of chunks) {
    memory.buffer.set(chunk, at);
    at += chunk.length;
  }
  return { bytes: memory.buffer.subarray(0, length), memory };
}
