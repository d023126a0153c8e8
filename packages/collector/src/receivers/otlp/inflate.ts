import {
  constants,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzipSync,
  inflateSync,
  zstdDecompressSync,
  type Gunzip,
  type Inflate,
  type ZstdDecompress,
} from "node:zlib";
import type { BodyLimits } from "./in-flight.ts";
import { RequestError, tooLarge } from "./request-error.ts";

/** Of the output; with zlib's default of 16 KiB it is 1.7 times slower. */
const CHUNK_BYTES = 512 * 1024;
/** Bodies up to this size are inflated at once, up to so many bytes: half a millisecond. */
const MAX_SYNC_BYTES = 128 * 1024;
const MAX_SYNC_INFLATED = 1024 * 1024;
/**
 * What a zstd frame may make the decoder allocate: 8 MiB, which RFC 8878 asks decoders to support and no level below 20
 * goes beyond. The library's own limit is 128 MiB, for ten bytes of a hostile client.
 */
const ZSTD_WINDOW_LOG = 23;
/** Compressors write one frame or a few; each costs a decoder, and 60 MiB have room for millions of empty ones. */
const MAX_ZSTD_FRAMES = 64;

/** Memory of its own, which nobody else has. */
type Chunk = Buffer<ArrayBuffer>;

const ZSTD = { params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } };
const PARTS = { chunkSize: CHUNK_BYTES };
const ONCE = { chunkSize: MAX_SYNC_INFLATED, maxOutputLength: MAX_SYNC_INFLATED, rejectGarbageAfterEnd: true };

const CODINGS = {
  identity: undefined,
  gzip: {
    once: (body: Buffer): Chunk => gunzipSync(body, ONCE),
    stream: (): Gunzip => createGunzip(PARTS),
  },
  deflate: {
    once: (body: Buffer): Chunk => inflateSync(body, ONCE),
    stream: (): Inflate => createInflate(PARTS),
  },
  zstd: {
    once: (body: Buffer): Chunk => zstdDecompressSync(body, { ...ZSTD, ...ONCE }),
    stream: (): ZstdDecompress => createZstdDecompress({ ...ZSTD, ...PARTS }),
  },
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
 * Inflates a body. What it gives is to be given back with `free`.
 *
 * @throws RequestError over the limit, for what is broken or goes on after its end, and when there is no room for it now
 */
export async function inflate(
  compressed: Buffer,
  coding: Exclude<Coding, "identity">,
  limits: BodyLimits,
): Promise<readonly Chunk[]> {
  return inflateAtOnce(compressed, coding, limits) ?? inflateParts(compressed, coding, limits);
}

/** Gives memory back at once: left to the garbage collector it would cost more than the inflating. */
export function free(chunks: readonly Chunk[]): void {
  // Two chunks may lie in the same memory; once given back it has no bytes.
  for (const { buffer } of chunks) if (buffer.byteLength >= CHUNK_BYTES) buffer.transfer(0);
}

/**
 * In this thread, because handing a body of the usual size to another one costs more than inflating it. Undefined for all that
 * is larger than it seemed, of several parts or broken: the stream finds out what it is.
 */
function inflateAtOnce(
  compressed: Buffer,
  coding: Exclude<Coding, "identity">,
  { maxBody, limitName, reservation }: BodyLimits,
): readonly Chunk[] | undefined {
  if (compressed.length > MAX_SYNC_BYTES) return undefined;
  let inflated: Chunk;
  try {
    inflated = CODINGS[coding].once(compressed);
  } catch {
    return undefined;
  }
  if (inflated.length > maxBody) throw tooLarge(maxBody, limitName, "after decompression");
  if (!reservation.grow(inflated.length)) throw reservation.refusal();
  return [inflated];
}

/** By streams, part by part; every byte is counted in the reservation as it comes out. */
async function inflateParts(
  compressed: Buffer,
  coding: Exclude<Coding, "identity">,
  limits: BodyLimits,
): Promise<readonly Chunk[]> {
  if (coding === "zstd" && !limits.reservation.grow(1 << ZSTD_WINDOW_LOG)) throw limits.reservation.refusal();
  const output = { chunks: [] as Chunk[], length: 0 };
  let rest = compressed;
  // Node's zstd stops after one frame; RFC 8878 allows several, as gzip does with its members.
  for (let frames = 1; ; frames++) {
    const consumed = await inflateOnce(rest, coding, limits, output);
    if (consumed === rest.length) return output.chunks;
    if (coding !== "zstd" || frames === MAX_ZSTD_FRAMES || consumed === 0)
      throw new RequestError(
        "malformed",
        `the body goes on for ${rest.length - consumed} bytes after its ${coding} data`,
      );
    rest = rest.subarray(consumed);
  }
}

interface Output {
  readonly chunks: Chunk[];
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
    const stream = CODINGS[coding].stream();
    const fail = (error: RequestError): void => {
      reject(error);
      stream.destroy();
    };
    stream.on("data", (chunk: Chunk) => {
      output.length += chunk.length;
      output.chunks.push(chunk);
      if (output.length > maxBody) fail(tooLarge(maxBody, limitName, "after decompression"));
      else if (!reservation.grow(chunk.length)) fail(reservation.refusal());
    });
    stream.once("end", () => resolve(stream.bytesWritten));
    stream.once("error", (error) =>
      reject(new RequestError("malformed", `the body is not valid ${coding}: ${error.message}`)),
    );
    stream.end(compressed);
  });
}
