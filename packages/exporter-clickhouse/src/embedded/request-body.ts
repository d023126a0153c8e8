import { createWriteStream } from "node:fs";
import { unlink } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import type { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from "node:zlib";
import { exception, toException } from "./exception.ts";

const CHUNK = { chunkSize: 256 * 1024 };
/** Chunks of a socket are 64 KiB: written by many at once, a body costs less than half of what it does one by one. */
const WRITE_BUFFER_BYTES = 2 ** 20;
const DECODERS: ReadonlyMap<string, () => Transform> = new Map([
  ["gzip", () => createGunzip(CHUNK)],
  ["x-gzip", () => createGunzip(CHUNK)],
  ["deflate", () => createInflate(CHUNK)],
  ["br", () => createBrotliDecompress(CHUNK)],
  ["zstd", () => createZstdDecompress(CHUNK)],
]);

/**
 * A request's body, inflated as it comes. A small body that inflates to a big one stops at the limit: nothing is inflated
 * that nobody asked for.
 */
export class RequestBody {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #limit: number;
  #size = 0;
  #ahead: Buffer[] = [];

  constructor(request: IncomingMessage, limit: number) {
    this.#chunks = decode(request)[Symbol.asyncIterator]();
    this.#limit = limit;
  }

  /** The first bytes, at most about so many, and whether that is all. They stay to be read. */
  async peek(bytes: number): Promise<{ head: Buffer; complete: boolean }> {
    let size = this.#ahead.reduce((sum, chunk) => sum + chunk.length, 0);
    for (;;) {
      if (size > bytes) return { head: Buffer.concat(this.#ahead), complete: false };
      const chunk = await this.#next();
      if (chunk === undefined) return { head: Buffer.concat(this.#ahead), complete: true };
      this.#ahead.push(chunk);
      size += chunk.length;
    }
  }

  /**
   * Writes the body to a new file of this user's, from an offset on.
   *
   * @returns how many bytes the file has. On an error the file is gone.
   */
  async writeTo(path: string, offset: number): Promise<number> {
    let written = 0;
    const ahead = Buffer.concat(this.#ahead).subarray(offset);
    this.#ahead = [];
    const next = (): Promise<Buffer | undefined> => this.#next();
    async function* rest(): AsyncGenerator<Buffer> {
      if (ahead.length > 0) {
        written += ahead.length;
        yield ahead;
      }
      for (let chunk = await next(); chunk !== undefined; chunk = await next()) {
        written += chunk.length;
        yield chunk;
      }
    }
    try {
      await pipeline(rest, createWriteStream(path, { flags: "wx", mode: 0o600, highWaterMark: WRITE_BUFFER_BYTES }));
      return written;
    } catch (error) {
      await unlink(path).catch(() => undefined);
      throw toException(error);
    }
  }

  async #next(): Promise<Buffer | undefined> {
    let result: IteratorResult<Buffer>;
    try {
      result = await this.#chunks.next();
    } catch (error) {
      const cut = error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE";
      if (cut || (error instanceof Error && error.message === "aborted")) {
        throw exception("NETWORK_ERROR", "the request broke off", error);
      }
      throw exception("CANNOT_DECOMPRESS", `the body is not what Content-Encoding says: ${String(error)}`, error);
    }
    if (result.done === true) return undefined;
    this.#size += result.value.length;
    if (this.#size > this.#limit) {
      throw exception("TOO_LARGE_STRING_SIZE", `the body is larger than ${this.#limit} bytes after inflation`);
    }
    return result.value;
  }
}

function decode(request: IncomingMessage): Readable {
  const encoding = (request.headers["content-encoding"] ?? "").trim().toLowerCase();
  if (encoding === "" || encoding === "identity") return request;
  const decoder = DECODERS.get(encoding)?.();
  if (decoder === undefined) {
    throw exception(
      "UNKNOWN_COMPRESSION_METHOD",
      `Content-Encoding ${JSON.stringify(encoding)}: gzip, deflate, br and zstd are understood`,
    );
  }
  // An error before anybody reads waits in the stream for the reader; without a listener it would end the process.
  decoder.on("error", () => undefined);
  request.once("error", (error) => decoder.destroy(error));
  request.once("close", () => {
    if (!request.complete) decoder.destroy(new Error("aborted"));
  });
  return request.pipe(decoder);
}
