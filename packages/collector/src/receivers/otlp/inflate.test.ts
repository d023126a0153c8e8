import * as fc from "fast-check";
import { randomBytes } from "node:crypto";
import { deflateSync, gzipSync, zstdCompressSync, constants } from "node:zlib";
import { describe, expect, it } from "vitest";
import { MemoryPool } from "../../memory.ts";
import { decode } from "./body.ts";
import { FRAME_BYTES, frame, percentEncode, unframe } from "./grpc-frame.ts";
import { InFlight } from "./in-flight.ts";
import { parseCoding, type Coding } from "./inflate.ts";
import { RequestError } from "./request-error.ts";

const MIB = 1024 * 1024;
const LIMIT = 256 * 1024;
const inFlight = new InFlight(64 * MIB, new Float64Array(1), 0);
const pool = new MemoryPool();

async function inflated(body: Uint8Array, coding: Coding, maxBody = LIMIT): Promise<Buffer> {
  const reservation = inFlight.reserve();
  try {
    const limits = { maxBody, limitName: "limit", reservation };
    const { bytes } = await decode([Buffer.from(body)], coding, limits, pool);
    return Buffer.from(bytes);
  } finally {
    reservation.release();
  }
}

const COMPRESS = { gzip: gzipSync, deflate: deflateSync, zstd: zstdCompressSync } as const;
const CODINGS = ["gzip", "deflate", "zstd"] as const;
const text = Buffer.from("the same again and again ".repeat(500));

/** What it gives or throws. */
function caught(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

describe("parseCoding", () => {
  it.each([
    [undefined, "identity"],
    ["", "identity"],
    ["identity", "identity"],
    [" GZip ", "gzip"],
    ["x-gzip", "gzip"],
    ["identity, zstd,", "zstd"],
    ["deflate", "deflate"],
  ])("understands %j as %s", (header, coding) => {
    expect(parseCoding(header)).toBe(coding);
  });

  it.each(["br", "gzip, gzip", "gzip, deflate", "gzip;q=1", "constructor", "compress"])("refuses %j", (header) => {
    expect(() => parseCoding(header)).toThrow(expect.objectContaining({ kind: "unsupported" }));
  });

  it("takes any header with a coding or a RequestError", () => {
    const token = fc.oneof(fc.constantFrom("gzip", "zstd", "deflate", "identity", ",", " ", ";"), fc.string());
    fc.assert(
      fc.property(fc.array(token), (parts) => {
        const outcome = caught(() => parseCoding(parts.join(",")));
        expect(outcome instanceof RequestError || ["identity", ...CODINGS].includes(String(outcome))).toBe(true);
      }),
    );
  });
});

describe("inflate", () => {
  it.each(CODINGS)("takes %s", async (coding) => {
    expect(await inflated(COMPRESS[coding](text), coding)).toEqual(text);
  });

  it.each(["gzip", "zstd"] as const)("takes %s of several parts", async (coding) => {
    const parts = [COMPRESS[coding](text), COMPRESS[coding](Buffer.from("!")), COMPRESS[coding](text)];
    expect(await inflated(Buffer.concat(parts), coding)).toEqual(Buffer.concat([text, Buffer.from("!"), text]));
  });

  it.each(CODINGS)("refuses %s that goes on after its end, is cut, or is empty", async (coding) => {
    const body = COMPRESS[coding](text);
    for (const broken of [Buffer.concat([body, Buffer.alloc(7)]), body.subarray(0, -3), Buffer.alloc(0)])
      await expect(inflated(broken, coding)).rejects.toMatchObject({ kind: "malformed" });
  });

  it.each(CODINGS)("counts all parts of %s towards the limit", async (coding) => {
    const half = COMPRESS[coding](Buffer.alloc(LIMIT * 0.6));
    const body = coding === "deflate" ? deflateSync(Buffer.alloc(LIMIT * 1.2)) : Buffer.concat([half, half]);
    await expect(inflated(body, coding)).rejects.toMatchObject({ kind: "too_large" });
    expect(await inflated(COMPRESS[coding](Buffer.alloc(LIMIT)), coding)).toHaveLength(LIMIT);
  });

  it.each(CODINGS)("gives each %s body its own bytes, whatever way its size makes it go", async (coding) => {
    const sizes = [0, 1, MIB / 2, MIB / 2 + 1, MIB, MIB + 1, 3 * MIB];
    const bodies = sizes.map((size, i) => Buffer.alloc(size, 65 + i));
    // The last one does not shrink.
    bodies.push(randomBytes(MIB / 4));
    const taken = bodies.map((body) => inflated(COMPRESS[coding](body), coding, 4 * MIB));
    for (const [i, bytes] of (await Promise.all(taken)).entries()) expect(bytes.equals(bodies[i]!)).toBe(true);
  });

  it("refuses zstd that asks for a large window, and thousands of frames", async () => {
    const params = { [constants.ZSTD_c_windowLog]: 26, [constants.ZSTD_c_contentSizeFlag]: 0 };
    const wide = zstdCompressSync(Buffer.alloc(1), { params });
    // A frame of one byte is written with a small window whatever is asked for: byte 5 says which one.
    wide[5] = 16 << 3;
    await expect(inflated(wide, "zstd")).rejects.toMatchObject({ kind: "malformed" });
    const empty = zstdCompressSync(Buffer.alloc(0));
    const many = Buffer.concat(Array.from({ length: 10_000 }, () => empty));
    await expect(inflated(many, "zstd")).rejects.toMatchObject({ kind: "malformed" });
  });

  it("takes any bytes with an answer or a RequestError, and gives its room back", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...CODINGS),
        fc.uint8Array({ maxLength: 100 }),
        fc.nat({ max: 60 }),
        fc.uint8Array({ maxLength: 4 }),
        async (coding, content, at, change) => {
          const body = COMPRESS[coding](content);
          body.set(change.subarray(0, Math.max(0, body.length - at)), Math.min(at, body.length));
          const error = await inflated(body, coding).then(
            (bytes) => (bytes.length <= LIMIT ? undefined : bytes),
            (thrown: unknown) => (thrown instanceof RequestError ? undefined : thrown),
          );
          expect(error).toBeUndefined();
        },
      ),
    );
    expect(inFlight.bytes).toBe(0);
  });
});

describe("a gRPC frame", () => {
  it("comes back from any pieces, and anything else is a RequestError", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.array(fc.nat({ max: 45 })),
        fc.boolean(),
        (message, cuts, good) => {
          const bytes = good ? frame(message) : Buffer.from(message);
          const ends = [...cuts.filter((cut) => cut < bytes.length), bytes.length].toSorted((a, b) => a - b);
          const chunks = ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
          const outcome = caught(() => Buffer.concat(unframe(chunks, "gzip").chunks));
          const refused = !good && outcome instanceof RequestError;
          expect(refused || bytes.subarray(FRAME_BYTES).equals(outcome as Buffer)).toBe(true);
        },
      ),
    );
  });

  it("has a message of printable ASCII that reads back as it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (message) => {
        const encoded = percentEncode(message);
        expect(encoded).toMatch(/^[ -~]*$/);
        expect(decodeURIComponent(encoded)).toBe(message);
      }),
    );
  });
});
