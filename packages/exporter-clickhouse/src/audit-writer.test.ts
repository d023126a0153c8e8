import { writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { COLUMNS, Ledger, readSegment } from "@otel-audit/ledger";
import type { ClosedSegment } from "@otel-audit/ledger";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { AuditWriter } from "./audit-writer.ts";
import { EmbeddedEngine } from "./embedded/index.ts";
import { ClickHouseError } from "./errors.ts";
import { ClickHouseHttp } from "./http.ts";
import { FaultProxy } from "./testing/fault-proxy.ts";
import { transposeToNative } from "./native/transpose.ts";
import { append, auditSpan } from "./testing/spans.ts";

/** For a machine that is busy with other things. */
const PATIENCE = { timeout: 30_000, interval: 20 };

let dir: string;
let engine: EmbeddedEngine;
let reader: ClickHouseHttp;
let proxy: FaultProxy;
let ledger: Ledger;
let writer: AuditWriter;
let ledgers = 0;

beforeAll(async () => {
  dir = tempDir("writer");
  engine = await EmbeddedEngine.start({ dataDir: join(dir, "engine") });
  reader = new ClickHouseHttp(engine.reader, 30_000);
  proxy = await FaultProxy.start(engine.url);
});

afterAll(async () => {
  await proxy.stop();
  await reader.close();
  await engine.stop();
});

beforeEach(async () => {
  ledger = await Ledger.open({ dir: join(dir, `ledger-${ledgers++}`), maxSegmentAgeMs: 3_600_000 });
  writer = new AuditWriter({ ...engine.writer, url: proxy.url });
  proxy.inserts = proxy.requests = 0;
});

afterEach(async () => {
  await writer.close();
  await ledger.close();
});

async function segmentOf(count: number): Promise<ClosedSegment> {
  await append(
    ledger,
    Array.from({ length: count }, () => auditSpan()),
  );
  await ledger.rotate();
  const segment = ledger.closedSegments().at(-1);
  if (segment === undefined) throw new Error("no segment");
  return segment;
}

/** Whether the table holds the segment's rows, byte for byte. */
async function isWhole(segment: ClosedSegment): Promise<boolean> {
  const { rows } = await readSegment(segment.path);
  const last = segment.firstSequence + BigInt(segment.count) - 1n;
  const chunks: Uint8Array[] = [];
  const names = COLUMNS.map(({ name }) => `\`${name}\``).join(", ");
  const sql =
    `SELECT ${names} FROM otel_audit.audit_events WHERE StreamId = '${segment.streamId}' ` +
    `AND Sequence BETWEEN ${segment.firstSequence} AND ${last} ORDER BY Sequence FORMAT RowBinary`;
  for await (const chunk of reader.bytes(sql)) chunks.push(chunk);
  return Buffer.compare(Buffer.concat(chunks), rows) === 0;
}

async function stored(segment: ClosedSegment): Promise<{ rows: number; sequences: number }> {
  const [row] = await reader.query<{ rows: number; sequences: number }>(
    `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(Sequence)) AS sequences FROM otel_audit.audit_events ` +
      `WHERE StreamId = '${segment.streamId}'`,
  );
  return row ?? { rows: -1, sequences: -1 };
}

async function failure(promise: Promise<unknown>): Promise<ClickHouseError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ClickHouseError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("once in the table", () => {
  test("a segment written again adds nothing", async () => {
    const segment = await segmentOf(100);
    await writer.writeSegment(segment);
    await writer.writeSegment(segment);
    expect(await stored(segment)).toEqual({ rows: 100, sequences: 100 });
    expect(proxy.inserts).toBeGreaterThan(0);
  });

  test("a segment that nobody tried before takes an insert and a count", async () => {
    // The first one also looks at the table's columns.
    await writer.writeSegment(await segmentOf(1), true);
    proxy.inserts = proxy.requests = 0;
    const segment = await segmentOf(10);
    await writer.writeSegment(segment, true);
    expect([proxy.requests, proxy.inserts]).toEqual([2, 1]);
    expect(await stored(segment)).toEqual({ rows: 11, sequences: 11 });
  });

  test("the answer to a first insert is lost: the next attempt looks before it inserts", async () => {
    const segment = await segmentOf(10);
    proxy.faults.push("drop-answer");
    await failure(writer.writeSegment(segment, true));
    await writer.writeSegment(segment, true);
    expect(proxy.inserts).toBe(1);
    expect(await stored(segment)).toEqual({ rows: 10, sequences: 10 });
  });

  test("the connection breaks in the middle of an insert: nothing is stored, the next attempt stores all", async () => {
    const segment = await segmentOf(500);
    proxy.faults.push("cut-request");
    const error = await failure(writer.writeSegment(segment));
    expect(error).toMatchObject({ code: "CONNECTION", retryable: true });
    expect((await stored(segment)).rows).toBe(0);
    await writer.writeSegment(segment);
    expect(await stored(segment)).toEqual({ rows: 500, sequences: 500 });
  });

  test("the answer to an insert is lost: the rows are found, nothing is sent again", async () => {
    const segment = await segmentOf(500);
    proxy.faults.push("drop-answer");
    await failure(writer.writeSegment(segment));
    const inserts = proxy.inserts;
    await writer.writeSegment(segment);
    expect(proxy.inserts).toBe(inserts);
    expect(await stored(segment)).toEqual({ rows: 500, sequences: 500 });
  });

  test("a later process finds what an earlier one inserted without hearing of it", async () => {
    const segment = await segmentOf(50);
    proxy.faults.push("drop-answer");
    await failure(writer.writeSegment(segment));
    const later = new AuditWriter({ ...engine.writer, url: proxy.url });
    await later.writeSegment(segment);
    await later.close();
    expect(await stored(segment)).toEqual({ rows: 50, sequences: 50 });
  });

  test("many faults one after the other", async () => {
    const segment = await segmentOf(300);
    proxy.faults.push("cut-request", "cut-request", "cut-request", "drop-answer");
    const outcomes: string[] = [];
    while (outcomes.at(-1) !== "stored" && outcomes.length < 8) {
      outcomes.push(
        await writer.writeSegment(segment).then(
          () => "stored",
          () => "failed",
        ),
      );
    }
    expect(outcomes).toEqual(["failed", "failed", "failed", "failed", "stored"]);
    expect(await stored(segment)).toEqual({ rows: 300, sequences: 300 });
  });

  test("a token that the engine already knows loses the insert: noticed, sent again with another", async () => {
    const segment = await segmentOf(10);
    // Another block under this segment's token: what is left when the engine is killed between token and part.
    const other = await segmentOf(1);
    const http = new ClickHouseHttp(engine.writer, 10_000);
    const { rows, offsets } = await readSegment(other.path);
    await http.insertNative({
      table: "otel_audit.audit_events",
      columns: COLUMNS.map(({ name }) => name),
      block: transposeToNative(rows, offsets, COLUMNS),
      compression: "none",
      settings: { insert_deduplication_token: segment.hash },
      queryId: "forged",
    });
    await http.close();
    const before = proxy.inserts;
    await writer.writeSegment(segment);
    expect(proxy.inserts).toBe(before + 2);
    expect((await stored(segment)).rows).toBe(11);
  });

  test("an insert of an earlier process that is still under way is waited for", async () => {
    const segment = await segmentOf(10);
    const http = new ClickHouseHttp(engine.writer, 60_000);
    const { url, username, password } = engine.writer;
    const query = encodeURIComponent("INSERT INTO otel_audit.audit_events FORMAT JSONEachRow");
    // On its way until we say so: rows of another stream under the query id of this segment.
    const { readable: body, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const upload = writable.getWriter();
    const earlier = fetch(`${url}/?query=${query}&query_id=otel-audit-${segment.hash}-0-earlier`, {
      method: "POST",
      headers: { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` },
      body,
      duplex: "half",
    });
    void upload.write(Buffer.from('{"RecordId":"earlier"}\n'));
    await vi.waitFor(async () => {
      const running = await http.query("SELECT query_id FROM system.processes WHERE query_kind = 'Insert'");
      expect(running).toHaveLength(1);
    }, PATIENCE);
    const impatient = new AuditWriter(engine.writer, { settleTimeoutMs: 0 });
    expect(await failure(impatient.writeSegment(segment))).toMatchObject({ code: "OVERLOADED", retryable: true });
    await impatient.close();
    let written = false;
    const writing = writer.writeSegment(segment).then(() => (written = true));
    expect((await stored(segment)).rows).toBe(0);
    expect(written).toBe(false);
    await upload.close();
    expect((await earlier).status).toBe(200);
    await writing;
    expect((await stored(segment)).rows).toBe(10);
    await http.close();
  });

  test("some of the rows are there already: an alarm, and no insert", async () => {
    const whole = await segmentOf(20);
    const { rows, offsets } = await readSegment(whole.path);
    const http = new ClickHouseHttp(engine.writer, 10_000);
    await http.insertNative({
      table: "otel_audit.audit_events",
      columns: COLUMNS.map(({ name }) => name),
      block: transposeToNative(rows, offsets.slice(0, 6), COLUMNS),
      compression: "none",
      settings: {},
      queryId: "part",
    });
    await http.close();
    const before = proxy.inserts;
    const error = await failure(writer.writeSegment(whole));
    expect(error).toMatchObject({ code: "PARTIAL_SEGMENT", retryable: false });
    expect(error.message).toMatch(/5 of its 20 rows/);
    expect(proxy.inserts).toBe(before);
  });
});

describe("what is sent", () => {
  test("on a cluster inserts wait for a quorum, and counts see what it holds", async () => {
    const requests: string[] = [];
    proxy.always = (request) => {
      requests.push(request);
      return "pass";
    };
    const own = new AuditWriter({ ...engine.writer, url: proxy.url }, { cluster: "main" });
    const segment = await segmentOf(5);
    await own.writeSegment(segment, true);
    await own.close();
    proxy.always = "pass";
    expect(requests.join()).toMatch(/[?&]insert_quorum=auto&/);
    expect(requests.join()).toMatch(/[?&]insert_quorum_parallel=0&/);
    expect(requests.join()).toMatch(/[?&]distributed_foreground_insert=1&/);
    expect((await stored(segment)).rows).toBe(5);
  });

  test.each(["none", "gzip", "zstd"] as const)("compression %s", async (compression) => {
    const own = new AuditWriter(engine.writer, { compression });
    const segment = await segmentOf(30);
    await own.writeSegment(segment);
    await own.close();
    expect((await stored(segment)).rows).toBe(30);
  });

  test("a segment whose rows changed on disk is not inserted", async () => {
    const segment = await segmentOf(30);
    const bytes = await readFile(segment.path);
    const { rows, offsets } = await readSegment(segment.path);
    bytes[bytes.indexOf(rows.subarray(offsets[15], offsets[16])) + 60]! ^= 1;
    writeFileSync(segment.path, bytes);
    const error = await failure(writer.writeSegment(segment));
    expect(error.code).toBe("BAD_ROWS");
    expect((await stored(segment)).rows).toBe(0);
  });
});

test("rows read back as RowBinary are the logged bytes", async () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  const value = fc.oneof(
    text,
    fc.boolean(),
    fc.integer(),
    fc.double(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(text, { maxLength: 3 }),
    fc.dictionary(text, text, { maxKeys: 3 }),
  );
  const attributes = fc.dictionary(fc.oneof(text, fc.constantFrom("error.type", "audit.on_behalf_of.id", "k")), value, {
    maxKeys: 8,
  });
  const time = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
  const span = fc.record({
    name: text,
    kind: fc.nat(6),
    startTimeUnixNano: time,
    endTimeUnixNano: time,
    traceState: text,
    attributes,
    events: fc.array(fc.record({ timeUnixNano: time, name: text, attributes }), { maxLength: 3 }),
    status: fc.record({ code: fc.nat(3), message: text }),
    links: fc.array(
      fc.record({ traceId: fc.constant("ab".repeat(16)), spanId: fc.constant("cd".repeat(8)), attributes }),
      {
        maxLength: 2,
      },
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(span, { minLength: 40, maxLength: 120 }), async (spans) => {
      const result = await append(
        ledger,
        spans.map(({ attributes, ...rest }) => auditSpan(attributes, rest)),
      );
      expect(result.rejected).toEqual([]);
      await ledger.rotate();
      const segment = ledger.closedSegments().at(-1);
      if (segment === undefined) throw new Error("no segment");
      await writer.writeSegment(segment);
      expect(await isWhole(segment)).toBe(true);
    }),
    { numRuns: 6 },
  );
});

test("segments of different sizes, several at a time, each as it was written", async () => {
  const segments: ClosedSegment[] = [];
  for (const count of [900, 3, 400, 1, 700, 30, 900, 5]) segments.push(await segmentOf(count));
  await Promise.all(segments.map((segment) => writer.writeSegment(segment, true)));
  for (const segment of segments) expect(await isWhole(segment)).toBe(true);
});

test("the keys of the newest records, oldest first", async () => {
  const spans = Array.from({ length: 30 }, (_, i) => auditSpan({ "audit.record.id": `key-${i}` }));
  await append(ledger, spans, "someone");
  await ledger.rotate();
  const segment = ledger.closedSegments().at(-1);
  if (segment === undefined) throw new Error("no segment");
  await writer.writeSegment(segment);
  const keys = await collect(writer.recentKeys(1_000_000));
  const ours = keys.filter(({ principal }) => principal === "someone");
  expect(ours.map(({ recordId }) => recordId)).toEqual(spans.map((_, i) => `key-${i}`));
  expect(ours.every(({ contentHash }) => contentHash.length === 16 && contentHash.some((byte) => byte !== 0))).toBe(
    true,
  );
  expect(await collect(writer.recentKeys(0))).toEqual([]);
});

describe("errors", () => {
  test("a wrong credential", async () => {
    const stranger = new AuditWriter({ ...engine.writer, password: "wrong" });
    const result = await stranger.ping();
    expect(result).toMatchObject({ success: false, error: { code: "AUTHENTICATION", retryable: false } });
    await stranger.close();
  });

  test("no server", async () => {
    const lonely = new AuditWriter({ url: "http://user:s3cret@127.0.0.1:1" });
    const result = await lonely.ping();
    expect(result).toMatchObject({ success: false, error: { code: "CONNECTION", retryable: true } });
    expect(JSON.stringify(result)).not.toContain("s3cret");
    expect(!result.success && result.error.message).toMatch(/^ClickHouse at http:\/\/127\.0\.0\.1:1: (?!.*s3cret)/);
    await lonely.close();
  });

  test("a missing table", async () => {
    const lost = new AuditWriter({ ...engine.writer, database: "elsewhere" });
    const error = await failure(lost.writeSegment(await segmentOf(1)));
    expect(error.message).toContain("elsewhere");
    expect(error.retryable).toBe(false);
    await lost.close();
  });

  test("a password is in no message", async () => {
    const secret = new AuditWriter({ url: "http://127.0.0.1:1", username: "u", password: "geheim" });
    const error = await failure(secret.writeSegment(await segmentOf(1)));
    expect(`${error.message} ${String(error.cause)}`).not.toContain("geheim");
    await secret.close();
  });

  test("after close", async () => {
    await writer.close();
    const error = await failure(writer.writeSegment(await segmentOf(1)));
    expect(error.message).not.toBe("");
  });

  test("options", () => {
    expect(() => new AuditWriter(engine.writer, { requestTimeoutMs: 5 })).toThrow(/requestTimeoutMs 5/);
    expect(() => new AuditWriter({ url: "nonsense" })).toThrow(/url "nonsense"/);
    const secret = "tcp://user:s3cret@host:9000?password=s3cret";
    expect(() => new AuditWriter({ url: secret })).toThrow(/^url "host:9000": not an HTTP address$/);
  });
});
