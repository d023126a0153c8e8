import * as fs from "node:fs";
import * as path from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { FILE_HEADER_BYTES, FRAME_HEADER_BYTES, MAX_FRAME_PAYLOAD } from "./frame.ts";
import { readFrames, readFramesSync, scanFrames } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";

const PAYLOADS = ["first", "second payload", "", "the fourth of them"].map((text) => Buffer.from(text));
const dir = tempDir("frames");
let files = 0;

function newPath(): string {
  return path.join(dir, `${++files}.frames`);
}

/** A file whose frames know the first `synced` of them to be synced. */
function write(payloads: readonly Uint8Array[], synced: number): { bytes: Buffer; file: string; starts: number[] } {
  const file = newPath();
  const writer = FrameWriter.createSync(file);
  const starts: number[] = [];
  for (const [i, payload] of payloads.entries()) {
    if (i === synced) writer.syncSync();
    starts.push(writer.position);
    writer.appendSync(payload);
  }
  writer.closeSync();
  return { bytes: fs.readFileSync(file), file, starts };
}

function payloadsOf(bytes: Uint8Array): Buffer[] {
  const scan = scanFrames(bytes);
  return Array.from({ length: scan.count }, (_, i) => scan.bytes.subarray(scan.payloadStart[i], scan.payloadEnd[i]));
}

describe("frame file", () => {
  test("gives back what was written", async () => {
    const { file } = write(PAYLOADS, 2);
    expect(readFramesSync(file)).toEqual({ payloads: PAYLOADS, damage: [] });
    expect(await readFrames(file)).toEqual({ payloads: PAYLOADS, damage: [] });
  });

  test("the asynchronous writer writes the same", async () => {
    const file = newPath();
    const writer = await FrameWriter.create(file);
    for (const payload of PAYLOADS) writer.add(payload);
    expect(writer.position).toBe(0);
    await writer.flush();
    expect(writer.synced).toBe(0);
    await writer.sync();
    expect(writer.synced).toBe(writer.position);
    await writer.close();
    expect(readFramesSync(file)).toEqual({ payloads: PAYLOADS, damage: [] });
  });

  test("does not write over a file that exists", async () => {
    const { file } = write([], 0);
    expect(() => FrameWriter.createSync(file)).toThrow(/EEXIST/);
    await expect(FrameWriter.create(file)).rejects.toThrow(/EEXIST/);
  });

  test("refuses a payload above the limit and stays usable", () => {
    const file = newPath();
    const writer = FrameWriter.createSync(file);
    expect(() => writer.appendSync(new Uint8Array(MAX_FRAME_PAYLOAD + 1))).toThrow(/67108865 bytes exceeds 67108864/);
    writer.appendSync(PAYLOADS[0]!);
    writer.closeSync();
    expect(readFramesSync(file).payloads).toEqual([PAYLOADS[0]]);
  });

  test("an empty file is empty", () => {
    expect(scanFrames(new Uint8Array(0))).toMatchObject({ count: 0, damage: [], end: 0 });
  });

  test("cut at any byte: every whole frame is read, the rest is a torn tail", () => {
    const { bytes, starts } = write(PAYLOADS, 0);
    for (let length = 0; length < bytes.length; length++) {
      const scan = scanFrames(bytes.subarray(0, length));
      const whole = starts.filter((start, i) => start + FRAME_HEADER_BYTES + PAYLOADS[i]!.length <= length).length;
      expect(scan.count, `cut at ${length}`).toBe(whole);
      const boundary = length === 0 || length === FILE_HEADER_BYTES || starts.includes(length);
      const end = length < FILE_HEADER_BYTES ? 0 : (starts[whole] ?? bytes.length);
      expect(scan.damage).toEqual(boundary ? [] : [{ start: end, end: length, kind: "torn" }]);
    }
  });

  test("cut below the synced offset: damage, not a torn tail", () => {
    const { bytes, starts } = write(PAYLOADS, 3);
    const tail = bytes.subarray(starts[3]);
    // The last frame knows that the three before it were synced; the third lost its last two bytes, which nothing but
    // a broken disk does. Offsets move, so the last frame is not found either.
    const broken = Buffer.concat([bytes.subarray(0, starts[3]! - 2), tail]);
    expect(scanFrames(broken).damage).toMatchObject([{ kind: "torn" }]);
    expect(scanFrames(broken, broken.length).damage).toMatchObject([{ kind: "damaged", start: starts[2] }]);
  });

  test("one flipped bit anywhere: no wrong payload, and all other frames below the synced offset are read", () => {
    const { bytes, starts } = write(PAYLOADS, 3);
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [1, 16, 128]) {
        const broken = Buffer.from(bytes);
        broken[at]! ^= bit;
        const hit = starts.findLastIndex((start) => start <= at);
        const damage =
          hit === 3
            ? { start: starts[3], end: bytes.length, kind: "torn" }
            : { start: hit < 0 ? 0 : starts[hit], end: starts[hit + 1], kind: "damaged" };
        expect(scanFrames(broken).damage, `bit at ${at}`).toEqual([damage]);
        expect(payloadsOf(broken).map(String)).toEqual(PAYLOADS.filter((_, i) => i !== hit).map(String));
      }
    }
  });

  test("header and first frame both destroyed: the others are found", () => {
    const { bytes, starts } = write([...PAYLOADS, Buffer.alloc(300, "x")], 4);
    bytes.fill(0, 0, starts[1]);
    expect(payloadsOf(bytes).map(String)).toEqual([...PAYLOADS.slice(1).map(String), "x".repeat(300)]);
  });

  test("a frame that a producer hides in a payload is never read as one", () => {
    const hidden = write([Buffer.from("forged")], 0).bytes;
    const { bytes, starts } = write(
      [Buffer.from("a"), hidden, hidden.subarray(FILE_HEADER_BYTES), Buffer.from("b")],
      3,
    );
    for (let at = starts[1]!; at < starts[3]!; at++) {
      const broken = Buffer.from(bytes);
      broken[at]! ^= 0xff;
      expect(payloadsOf(broken).map(String)).not.toContain("forged");
    }
    expect(payloadsOf(bytes)).toHaveLength(4);
  });

  test("reading on behind a failed write: the file is cut back and goes on", async () => {
    const file = newPath();
    const writer = await FrameWriter.create(file);
    writer.add(Buffer.from("kept"));
    await writer.flush();
    fs.appendFileSync(file, "leftovers of a failed write");
    writer.add(Buffer.from("after"));
    await writer.flush();
    await writer.close();
    expect(readFramesSync(file).payloads.map(String)).toEqual(["kept", "after"]);
  });

  test("never throws on foreign bytes and never reads outside them", () => {
    const good = write(PAYLOADS, 2).bytes;
    const foreign = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .tuple(fc.nat(good.length), fc.uint8Array({ maxLength: 60 }), fc.nat(good.length))
        .map(([from, middle, to]) => Buffer.concat([good.subarray(0, from), middle, good.subarray(to)])),
    );
    fc.assert(
      fc.property(foreign, (bytes) => {
        const scan = scanFrames(bytes);
        expect(scan.end).toBeLessThanOrEqual(bytes.length);
        for (let i = 0; i < scan.count; i++) {
          expect(scan.payloadEnd[i]).toBeLessThanOrEqual(scan.end);
          expect(PAYLOADS.map(String)).toContain(scan.bytes.toString("utf8", scan.payloadStart[i], scan.payloadEnd[i]));
        }
      }),
      { numRuns: 500 },
    );
  });
});
