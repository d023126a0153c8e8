import { ClickHouseError } from "./errors.ts";
import type { ClickHouseHttp } from "./http.ts";
import { readVarintAt } from "./native/varint.ts";

/** What the ledger's window knows a record by. */
export interface RecordKey {
  readonly principal: string;
  readonly recordId: string;
  /** 16 bytes. */
  readonly contentHash: Uint8Array;
}

/** Rows of one query. A bound on what the engine has to sort at a time. */
const CHUNK_ROWS = 500_000;

interface Minute {
  readonly minute: string;
  readonly rows: string;
}

/** Keys of the newest `limit` records, oldest first. */
export async function* readKeys(http: ClickHouseHttp, table: string, limit: number): AsyncIterable<RecordKey> {
  if (!Number.isSafeInteger(limit) || limit < 0) {
    throw new ClickHouseError("INVALID_OPTION", `limit ${limit}: a whole number from 0 is allowed`);
  }
  for (const [from, to] of await chunks(http, table, limit)) {
    const sql =
      `SELECT Principal, RecordId, ContentHash FROM ${table} ` +
      `WHERE ReceivedAt >= toDateTime64('${from}', 9, 'UTC') AND ReceivedAt < toDateTime64('${to}', 9, 'UTC') + INTERVAL 1 MINUTE ` +
      `ORDER BY ReceivedAt, StreamId, Sequence FORMAT RowBinary`;
    yield* parseKeys(http.bytes(sql));
  }
}

/** Spans of whole minutes, oldest first, that hold the newest `limit` rows. */
async function chunks(http: ClickHouseHttp, table: string, limit: number): Promise<[from: string, to: string][]> {
  const minutes = await http.query<Minute>(
    `SELECT toString(at) AS minute, toString(n) AS rows FROM (` +
      `SELECT at, n, sum(n) OVER (ORDER BY at DESC) - n AS newer FROM (` +
      `SELECT toStartOfMinute(toDateTime(ReceivedAt, 'UTC')) AS at, count() AS n FROM ${table} GROUP BY at)` +
      `) WHERE newer < ${limit} ORDER BY at`,
  );
  const spans: [from: string, to: string][] = [];
  let size = 0;
  for (const { minute, rows } of minutes) {
    const current = spans.at(-1);
    if (current === undefined || size + Number(rows) > CHUNK_ROWS) {
      spans.push([minute, minute]);
      size = 0;
    } else {
      current[1] = minute;
    }
    size += Number(rows);
  }
  return spans;
}

async function* parseKeys(chunks: AsyncIterable<Uint8Array>): AsyncIterable<RecordKey> {
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    let at = 0;
    for (;;) {
      const parsed = parseKey(bytes, at);
      if (parsed === undefined) break;
      yield parsed.key;
      at = parsed.end;
    }
    rest = bytes.subarray(at);
  }
  if (rest.length > 0) throw new ClickHouseError("CONNECTION", "the answer to a query for record keys broke off");
}

function parseKey(bytes: Buffer, start: number): { key: RecordKey; end: number } | undefined {
  const principal = readVarintAt(bytes, start);
  if (principal === undefined) return undefined;
  const principalEnd = principal.end + principal.value;
  const id = readVarintAt(bytes, principalEnd);
  if (id === undefined) return undefined;
  const idEnd = id.end + id.value;
  if (idEnd + 16 > bytes.length) return undefined;
  return {
    key: {
      principal: bytes.toString("utf8", principal.end, principalEnd),
      recordId: bytes.toString("utf8", id.end, idEnd),
      contentHash: Uint8Array.from(bytes.subarray(idEnd, idEnd + 16)),
    },
    end: idEnd + 16,
  };
}
