import {
  constants,
  createGunzip,
  createInflate,
  createZstdDecompress,
  type Gunzip,
  type Inflate,
  type ZstdDecompress,
} from "node:zlib";
import type { BodyLimits, Chunks } from "./in-flight.ts";
import { RequestError, tooLarge } from "./request-error.ts";

/** A larger output chunk inflates 1.7 times faster than zlib's default of 16 KiB; zlib takes it at once, even for a small body. */
const MIN_INFLATE_CHUNK = 16 * 1024;
const MAX_INFLATE_CHUNK = 512 * 1024;
/** What OTLP inflates to, as a multiple of its compressed size; only a guess for the first chunk. */
const INFLATE_GUESS = 8;
/**
 * What a zstd frame may make the decoder allocate: 8 MiB, which RFC 8878 asks decoders to support and no level below 20
 * goes beyond. The library's own limit is 128 MiB, for ten bytes of a hostile client.
 */
const ZSTD_WINDOW_LOG = 23;
/** Compressors write one frame or a few; each costs a decoder, and 60 MiB have room for millions of empty ones. */
const MAX_ZSTD_FRAMES = 64;

const CODINGS = {
  identity: undefined,
  gzip: (chunkSize: number): Gunzip => createGunzip({ chunkSize }),
  deflate: (chunkSize: number): Inflate => createInflate({ chunkSize }),
  zstd: (chunkSize: number): ZstdDecompress =>
    createZstdDecompress({ chunkSize, params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }),
} as const;
export type Coding = keyof typeof CODINGS;

/** For headers that say what is understood. */
export const CODING_NAMES = Object.keys(CODINGS).join(",");

/**
 * The coding that a `Content-Encoding` or `grpc-encoding` header names. Of a list only one may be more than "identity":
 * nobody compresses twice but to hide how much it inflates to.
 *
 * @throws RequestError for what is not understood
 */
export function parseCoding(header: string | undefined): Coding {
  let found: Coding = "identity";
  for (const part of (header ?? "").split(",")) {
    const name = part.trim().toLowerCase();
    if (name === "" || name === "identity") continue;
    const coding = name === "x-gzip" ? "gzip" : name;
    if (!isCoding(coding) || found !== "identity")
      throw new RequestError("unsupported", `encoding "${header}" is not supported; send one of ${CODING_NAMES}`);
    found = coding;
  }
  return found;
}

function isCoding(name: string): name is Coding {
  return Object.hasOwn(CODINGS, name);
}

/**
 * Inflates a body. Every byte is counted in the reservation as it comes out.
 *
 * @throws RequestError over the limit, for what is broken or goes on after its end, and when there is no room for it now
 */
export async function inflate(
  compressed: Buffer,
  coding: Exclude<Coding, "identity">,
  limits: BodyLimits,
): Promise<Chunks> {
  const window = 1 << ZSTD_WINDOW_LOG;
  if (coding === "zstd" && !limits.reservation.grow(window)) throw limits.reservation.refusal();
  const output = { chunks: [] as Buffer[], length: 0 };
  let rest = compressed;
  // Node's zstd stops after one frame; RFC 8878 allows several, as gzip does with its members.
  for (let frames = 1; ; frames++) {
    const consumed = await inflateOnce(rest, coding, limits, output);
    if (consumed === rest.length) return output.chunks;
    if (coding !== "zstd" || frames === MAX_ZSTD_FRAMES || consumed === 0)
      throw new RequestError(
        "invalid",
        `the body goes on for ${rest.length - consumed} bytes after its ${coding} data`,
      );
    rest = rest.subarray(consumed);
  }
}

interface Output {
  readonly chunks: Buffer[];
  length: number;
}

/** Gives the number of bytes that were used up. */
function inflateOnce(
  compressed: Buffer,
  coding: Exclude<Coding, "identity">,
  { maxBody, limitName, reservation }: BodyLimits,
  output: Output,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const guess = compressed.length * INFLATE_GUESS;
    const stream = CODINGS[coding](Math.min(Math.max(guess, MIN_INFLATE_CHUNK), MAX_INFLATE_CHUNK));
    const fail = (error: RequestError): void => {
      reject(error);
      stream.destroy();
    };
    stream.on("data", (chunk: Buffer) => {
      output.length += chunk.length;
      output.chunks.push(chunk);
      if (output.length > maxBody) fail(tooLarge(maxBody, limitName, "after decompression"));
      else if (!reservation.grow(chunk.length)) fail(reservation.refusal());
    });
    stream.once("end", () => resolve(stream.bytesWritten));
    stream.once("error", (error) =>
      reject(new RequestError("invalid", `the body is not valid ${coding}: ${error.message}`)),
    );
    stream.end(compressed);
  });
}
