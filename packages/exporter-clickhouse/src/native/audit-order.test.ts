import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { COLUMNS } from "@otel-audit/ledger";
import { Session } from "chdb";
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClickHouseError } from "../errors.ts";
import { schemaStatements } from "../schema.ts";
import { encodeRow, pack } from "../testing/row-binary.ts";
import { auditOrder } from "./audit-order.ts";
import { transposeToNative } from "./transpose.ts";

const DAY = 86_400_000_000_000n;
const MIDNIGHT = 20_000n * DAY;
const ACTORS = ["", "agent:a", "agent:é", "agent:z", "b", "x".repeat(200)];

interface Key {
  readonly time: bigint;
  readonly actor: string;
}

const key = fc
  .tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: 0, max: 86_399 }), fc.nat(9), fc.constantFrom(...ACTORS))
  .map(([day, second, ns, actor]): Key => {
    return { time: MIDNIGHT + BigInt(day) * DAY + BigInt(second) * 1_000_000_000n + BigInt(ns), actor };
  });

const events = {
  "Events.Timestamp": [1n, 2n],
  "Events.Name": ["first", "second"],
  "Events.Attributes": [[["a", "1"]], []],
};

function encode(keys: readonly Key[], stream = 1): { rows: Uint8Array; offsets: Uint32Array } {
  return pack(
    keys.map(({ time, actor }, i) =>
      encodeRow({
        StreamId: Buffer.alloc(16, stream),
        Sequence: BigInt(i),
        ReceivedAt: MIDNIGHT,
        Timestamp: time,
        ActorId: actor,
        TraceId: "t".repeat(i % 200),
        SpanAttributes: i % 3 === 0 ? [] : [["key", "value"]],
        ...(i % 5 === 0 ? events : {}),
      }),
    ),
  );
}

function compare(a: Key, b: Key): number {
  const [day, other] = [a.time / DAY, b.time / DAY];
  if (day !== other) return day < other ? -1 : 1;
  return Buffer.compare(Buffer.from(a.actor), Buffer.from(b.actor)) || (a.time < b.time ? -1 : Number(a.time > b.time));
}

let dir: string;
let session: Session;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "audit-order-"));
  session = new Session(join(dir, "db"));
  for (const statement of schemaStatements()) session.query(statement);
});

afterAll(() => {
  session.close();
  rmSync(dir, { recursive: true, force: true });
});

test("rows are sorted by day, actor and time, equal ones stay as they came", () => {
  fc.assert(
    fc.property(fc.array(key, { maxLength: 300 }), (keys) => {
      const { rows, offsets } = encode(keys);
      const expected = [...keys.keys()].toSorted((a, b) => compare(keys[a]!, keys[b]!) || a - b);
      expect([...auditOrder(rows, offsets)]).toEqual(expected);
    }),
    { numRuns: 60 },
  );
});

/** Blocks that the engine found sorted when they came. */
function sortedBlocks(): number {
  const sql = "SELECT value FROM system.events WHERE event = 'MergeTreeDataWriterBlocksAlreadySorted'";
  return Number(session.query(sql, "TSV").trim() || "0");
}

test("the engine finds a block in this order sorted, and every row in it", () => {
  const keys = fc.sample(key, { numRuns: 500, seed: 7 });
  const { rows, offsets } = encode(keys, 2);
  const insert = (order?: Uint32Array): number => {
    const before = sortedBlocks();
    const file = join(dir, "block.native");
    writeFileSync(file, transposeToNative(rows, offsets, COLUMNS, order));
    const names = COLUMNS.map(({ name }) => `\`${name}\``).join(", ");
    session.query(`INSERT INTO otel_audit.audit_events (${names}) FROM INFILE '${file}' FORMAT Native`);
    return sortedBlocks() - before;
  };
  expect(insert()).toBe(0);
  expect(insert(auditOrder(rows, offsets))).toBe(1);
  const sql = "SELECT Sequence, count(), uniqExact(cityHash64(*)) FROM otel_audit.audit_events GROUP BY 1 ORDER BY 1";
  const stored = session.query(sql, "TSV").trim().split("\n");
  expect(stored).toEqual(keys.map((_, i) => `${i}\t2\t1`));
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

test("rows of another shape are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (junk, cut) => {
      const offsets = Uint32Array.of(0, Math.min(cut, junk.length), junk.length);
      expect(codeOf(() => auditOrder(junk, offsets))).toMatch(/^(BAD_ROWS|none)$/);
    }),
    { numRuns: 300 },
  );
  const { rows, offsets } = encode([{ time: MIDNIGHT, actor: "a" }]);
  expect(codeOf(() => auditOrder(rows.subarray(0, 80), offsets))).toBe("BAD_ROWS");
});
