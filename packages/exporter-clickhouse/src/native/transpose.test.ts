import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Session } from "chdb";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClickHouseError } from "../errors.ts";
import { varint } from "./byte-sink.ts";
import { NativeTransposer, transposeToNative } from "./transpose.ts";
import type { ColumnType } from "./types.ts";

const COLUMNS: readonly ColumnType[] = [
  { name: "small", type: "UInt16" },
  { name: "id", type: "UUID" },
  { name: "time", type: "DateTime64(9)" },
  { name: "hash", type: "FixedString(16)" },
  { name: "text", type: "String" },
  { name: "word", type: "LowCardinality(String)" },
  { name: "words", type: "Array(LowCardinality(String))" },
  { name: "map", type: "Map(LowCardinality(String), String)" },
  { name: "types", type: "Map(LowCardinality(String), LowCardinality(String))" },
  { name: "Events.Timestamp", type: "Array(DateTime64(9))" },
  { name: "Events.Name", type: "Array(LowCardinality(String))" },
  { name: "Events.Attributes", type: "Array(Map(LowCardinality(String), String))" },
];

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const string = fc
  .uint8Array({ maxLength: 200 })
  .map((value) => Buffer.concat([varint(value.length), value]) as Uint8Array);
const word = fc
  .constantFrom("", "a", "agent:refunds", "READ", "x".repeat(130), "ünï\0")
  .map((value) => Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]) as Uint8Array);
const array = (item: fc.Arbitrary<Uint8Array>) =>
  fc.array(item, { maxLength: 4 }).map((items) => Buffer.concat([varint(items.length), ...items]) as Uint8Array);
const pair = (a: fc.Arbitrary<Uint8Array>, b: fc.Arbitrary<Uint8Array>) =>
  fc.tuple(a, b).map((both) => Buffer.concat(both));
const events = fc
  .array(fc.tuple(bytes(8), word, array(pair(word, string))), { maxLength: 3 })
  .map((list) => [0, 1, 2].map((i) => Buffer.concat([varint(list.length), ...list.map((event) => event[i]!)])));
const row = fc
  .tuple(
    bytes(2),
    bytes(16),
    bytes(8),
    bytes(16),
    string,
    word,
    array(word),
    array(pair(word, string)),
    array(pair(word, word)),
    events,
  )
  .map((parts) => Buffer.concat(parts.flat()) as Uint8Array);

function pack(rows: readonly Uint8Array[]): { bytes: Uint8Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(rows.length + 1);
  for (const [i, one] of rows.entries()) offsets[i + 1] = offsets[i]! + one.length;
  return { bytes: Buffer.concat(rows), offsets };
}

/** One for all blocks of a test: nothing of a block is left in the next. */
const transposer = new NativeTransposer(COLUMNS);

let dir: string;
let session: Session;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "transpose-"));
  session = new Session(join(dir, "db"));
});

afterAll(() => {
  session.close();
  rmSync(dir, { recursive: true, force: true });
});

/** The block as the engine reads it, written by the engine as RowBinary. */
async function readBack(native: Uint8Array, columns: readonly ColumnType[]): Promise<Uint8Array> {
  const file = join(dir, "block.native");
  writeFileSync(file, native);
  const structure = columns.map(({ name, type }) => `\`${name}\` ${type}`).join(", ");
  const names = columns.map(({ name }) => `\`${name}\``).join(", ");
  const result = await session.queryAsync(`SELECT ${names} FROM file('${file}', Native, '${structure}')`, {
    format: "RowBinary",
  });
  return result.bytes();
}

test("the engine reads random rows back as the same bytes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 150 }), async (rows) => {
      const packed = pack(rows);
      const native = transposer.transpose(packed.bytes, packed.offsets);
      const back = await readBack(native, COLUMNS);
      expect(Buffer.compare(back, packed.bytes)).toBe(0);
      transposer.reuse(native);
    }),
    { numRuns: 40 },
  );
});

test("the engine reads runs of equal and almost equal rows back as the same bytes", async () => {
  // A first tile of equal rows makes the columns steady ones; whichever part differs afterwards breaks some of them.
  const runs = fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 40 })), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(row, fc.array(row, { minLength: 12, maxLength: 12 }), runs, async (first, others, list) => {
      const rows = [...repeated(first, 70), ...list.flatMap(([which, times]) => repeated(others[which]!, times))];
      const packed = pack([...rows, ...repeated(first, 3)]);
      const native = transposer.transpose(packed.bytes, packed.offsets);
      const back = await readBack(native, COLUMNS);
      expect(Buffer.compare(back, packed.bytes)).toBe(0);
      transposer.reuse(native);
    }),
    { numRuns: 40 },
  );
});

function repeated(one: Uint8Array, times: number): Uint8Array[] {
  return Array.from({ length: times }, () => one);
}

test("no rows make an empty block", async () => {
  const native = transposeToNative(new Uint8Array(0), new Uint32Array(1), COLUMNS);
  expect(await readBack(native, COLUMNS)).toHaveLength(0);
});

test.each([255, 256, 257, 65_535, 65_536, 65_537, 150_000])("a dictionary of %i keys", async (keys) => {
  const columns = [{ name: "word", type: "LowCardinality(String)" }];
  const rows = Array.from({ length: keys }, (_, i) => Buffer.from(`\u0008${String(i).padStart(8, "0")}`, "latin1"));
  const packed = pack([...rows, ...rows.slice(0, 10)]);
  const back = await readBack(transposeToNative(packed.bytes, packed.offsets, columns), columns);
  expect(Buffer.compare(back, packed.bytes)).toBe(0);
});

/** The code of the error that escapes; anything but our own error fails the test. */
function codeOf(call: () => unknown): string {
  try {
    call();
    return "none";
  } catch (error) {
    if (error instanceof ClickHouseError) return error.code;
    throw error;
  }
}

test("rows of another shape are refused, not written", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (junk, cut) => {
      const offsets = Uint32Array.of(0, Math.min(cut, junk.length), junk.length);
      expect(codeOf(() => transposer.transpose(junk, offsets))).toMatch(/^(BAD_ROWS|none)$/);
      const steady = pack([...repeated(Buffer.alloc(51), 70), junk]);
      expect(codeOf(() => transposer.transpose(steady.bytes, steady.offsets))).toMatch(/^(BAD_ROWS|none)$/);
    }),
    { numRuns: 500 },
  );
  const packed = pack([Buffer.from([1, 0, 0])]);
  expect(() => transposeToNative(packed.bytes, packed.offsets, [{ name: "a", type: "UInt16" }])).toThrow(
    /row 0 ends at byte 2/,
  );
});

test("a type that Native would need code for is named", () => {
  expect(() =>
    transposeToNative(new Uint8Array(1), Uint32Array.of(0, 1), [{ name: "v", type: "Variant(String)" }]),
  ).toThrow(/column v: type Variant\(String\)/);
});
