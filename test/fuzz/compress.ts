import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { Random } from "../faults/random.ts";
import { mutateBytes } from "./mutate-protobuf.ts";

type Coding = "gzip" | "deflate" | "zstd";
const COMPRESS: Readonly<Record<Coding, (body: Uint8Array) => Buffer>> = {
  gzip: (body) => gzipSync(body, { level: 1 }),
  deflate: (body) => deflateSync(body, { level: 1 }),
  zstd: (body) => zstdCompressSync(body),
};
const CODINGS: readonly Coding[] = ["gzip", "deflate", "zstd"];
/** Above every limit of a collector's defaults. */
const BOMB_BYTES = 80 * 1024 * 1024;
const bombs = new Map<Coding, Buffer>();

interface Compressed {
  readonly coding: string;
  readonly body: Buffer;
  /** What it inflates to: what was given, nothing that is known, or more than anybody may send. */
  readonly holds: "all" | "something" | "too much";
}

/** Compresses a body as clients do, or as nobody should. */
export function compress(body: Buffer, random: Random): Compressed {
  const coding = random.pick(CODINGS);
  const pack = COMPRESS[coding];
  const roll = random.between(0, 999);
  if (roll < 500) return { coding, body: pack(body), holds: "all" };
  if (roll < 600) {
    const at = random.between(0, body.length);
    const members = [pack(body.subarray(0, at)), pack(body.subarray(at))];
    return { coding, body: Buffer.concat(members), holds: coding === "deflate" ? "something" : "all" };
  }
  if (roll === 999) return { coding, body: bomb(coding), holds: "too much" };
  const broken =
    roll < 800
      ? mutateBytes(pack(body), random)
      : roll < 850
        ? Buffer.concat([pack(body), Buffer.from("and more")])
        : roll < 900
          ? pack(pack(body))
          : roll < 950
            ? Buffer.concat(Array<Buffer>(random.pick([3, 63, 70])).fill(pack(Buffer.alloc(0))))
            : body;
  // What is packed by one is read by another.
  return { coding: roll < 850 ? coding : random.pick(CODINGS), body: broken, holds: "something" };
}

/** A few kilobytes, or less, of zeros without end. */
export function bomb(coding: Coding): Buffer {
  let found = bombs.get(coding);
  if (found === undefined) bombs.set(coding, (found = COMPRESS[coding](Buffer.alloc(BOMB_BYTES))));
  return found;
}
