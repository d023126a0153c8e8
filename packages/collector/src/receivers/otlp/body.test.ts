import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MemoryPool } from "../../memory.ts";
import { collectGarbage } from "../../processors/memory_limiter/usage.ts";
import { decode, receive } from "./body.ts";
import { InFlight, type BodyLimits } from "./in-flight.ts";
import { parseCoding } from "./inflate.ts";
import type { RequestError } from "./request-error.ts";

const MIB = 1024 * 1024;
const ROOM = 8 * MIB;
let server: Server;
let inFlight: InFlight;
/** Most bytes that were counted while a body was read. */
let seen: number;
/** Milliseconds for a body. */
let timeoutMs: number;

beforeAll(async () => {
  server = createServer((incoming, response) => {
    const reservation = inFlight.reserve();
    const grow = (bytes: number): boolean => {
      const fits = reservation.grow(bytes);
      seen = Math.max(seen, inFlight.bytes);
      return fits;
    };
    const limits: BodyLimits = {
      maxBody: 64 * MIB,
      limitName: "limit",
      reservation: { ...reservation, grow },
      timeoutMs,
    };
    receive(incoming, limits)
      .then((chunks) => decode(chunks, parseCoding(incoming.headers["content-encoding"]), limits, new MemoryPool()))
      .then(
        ({ bytes }) => response.end(String(bytes.length)),
        ({ httpStatus, retryAfter, message }: RequestError) =>
          response
            .writeHead(httpStatus, retryAfter === undefined ? [] : ["retry-after", String(retryAfter)])
            .end(message),
      )
      .finally(() => reservation.release());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => server.close());
beforeEach(() => {
  inFlight = new InFlight(ROOM, new Float64Array(1), 0);
  seen = 0;
  timeoutMs = 30_000;
});

async function post(body: Uint8Array, encoding: string): Promise<[number, string]> {
  const { port } = server.address() as AddressInfo;
  const headers = { "content-encoding": encoding };
  const response = await fetch(`http://127.0.0.1:${port}`, { method: "POST", body: Buffer.from(body), headers });
  return [response.status, await response.text()];
}

describe("readBody", () => {
  it("counts what was inflated as well as what came, and gives all of it back", async () => {
    const compressed = gzipSync(Buffer.alloc(MIB));
    expect(await post(compressed, "gzip")).toEqual([200, String(MIB)]);
    expect(seen).toBe(compressed.length + MIB);
    await expect.poll(() => inFlight.bytes).toBe(0);
  });

  it.each([
    ["gzip", gzipSync],
    ["deflate", deflateSync],
  ] as const)("stops a %s bomb as soon as there is no room for what it inflates to", async (encoding, compress) => {
    const [status, message] = await post(compress(Buffer.alloc(60 * MIB)), encoding);
    expect([status, message]).toEqual([
      413,
      expect.stringContaining(`larger than ${ROOM} bytes (max_in_flight_bytes)`),
    ]);
    expect(seen).toBeLessThanOrEqual(ROOM);
    await expect.poll(() => inFlight.bytes).toBe(0);
  });

  it("tells who sends a body that does not end to come again: a client of OTLP drops what is answered with 408", async () => {
    timeoutMs = 1;
    const { port } = server.address() as AddressInfo;
    const stalled = request({ port, host: "127.0.0.1", method: "POST", headers: { "content-length": 2 } });
    stalled.on("error", () => {}).write("x");
    const [response] = (await once(stalled, "response")) as [IncomingMessage];
    expect([response.statusCode, response.headers["retry-after"]]).toEqual([503, "1"]);
    expect(await text(response)).toContain("not complete within 1 ms");
    stalled.destroy();
    await expect.poll(() => inFlight.bytes).toBe(0);
  });

  it("reads a body that came in many chunks", async () => {
    expect(await post(Buffer.alloc(3 * MIB, 7), "identity")).toEqual([200, String(3 * MIB)]);
    await expect.poll(() => inFlight.bytes).toBe(0);
  });

  it("leaves nothing of a body with its stream, which Node may keep for longer", async () => {
    const stream = new Readable({
      read(): void {
        this.push(Buffer.alloc(MIB));
        this.push(null);
      },
    });
    const chunk = new WeakRef(await firstChunk(stream));
    await setImmediate();
    collectGarbage();
    expect(stream.readableEnded).toBe(true);
    expect(chunk.deref()).toBeUndefined();
  });

  it("gives back chunks that fill their memory, and none that somebody else may have", async () => {
    const own = [Buffer.alloc(MIB, 1), Buffer.alloc(MIB, 2)];
    const shared = Buffer.alloc(2 * MIB, 3);
    const parts = [shared.subarray(0, MIB), shared.subarray(MIB)];
    const limits: BodyLimits = { maxBody: 64 * MIB, limitName: "limit", reservation: inFlight.reserve() };
    const { bytes } = await decode([...own, ...parts], "identity", limits, new MemoryPool());
    expect([bytes.length, bytes[0], bytes[MIB], bytes[2 * MIB], bytes[4 * MIB - 1]]).toEqual([4 * MIB, 1, 2, 3, 3]);
    expect([...own, shared].map(({ length }) => length)).toEqual([0, 0, 2 * MIB]);
  });
});

async function firstChunk(stream: Readable): Promise<Buffer> {
  const [chunk] = await receive(stream, { maxBody: MIB, limitName: "limit", reservation: inFlight.reserve() });
  return chunk!;
}
