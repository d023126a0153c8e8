import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { deflateSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MemoryPool } from "../../memory.ts";
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

beforeAll(async () => {
  server = createServer((request, response) => {
    const reservation = inFlight.reserve();
    const grow = (bytes: number): boolean => {
      const fits = reservation.grow(bytes);
      seen = Math.max(seen, inFlight.bytes);
      return fits;
    };
    const limits: BodyLimits = { maxBody: 64 * MIB, limitName: "limit", reservation: { ...reservation, grow } };
    receive(request, limits)
      .then((chunks) => decode(chunks, parseCoding(request.headers["content-encoding"]), limits, new MemoryPool()))
      .then(
        ({ bytes }) => response.end(String(bytes.length)),
        (error: unknown) => response.writeHead((error as RequestError).httpStatus).end((error as RequestError).message),
      )
      .finally(() => reservation.release());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => server.close());
beforeEach(() => {
  inFlight = new InFlight(ROOM, new Float64Array(1), 0);
  seen = 0;
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
    expect([status, message]).toEqual([503, expect.stringContaining(`the limit (max_in_flight_bytes) is ${ROOM};`)]);
    expect(seen).toBeLessThanOrEqual(ROOM);
    await expect.poll(() => inFlight.bytes).toBe(0);
  });

  it("reads a body that came in many chunks", async () => {
    expect(await post(Buffer.alloc(3 * MIB, 7), "identity")).toEqual([200, String(3 * MIB)]);
    await expect.poll(() => inFlight.bytes).toBe(0);
  });
});
