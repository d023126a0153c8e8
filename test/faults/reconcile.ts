import { readdirSync } from "node:fs";
import { createClient, ClickHouseLogLevel } from "@clickhouse/client";
import { RowFlag } from "@otel-audit/ledger";
import type { World } from "./nemesis.ts";
import type { Item } from "./records.ts";

/** What the table says beside what producers were told. */
export interface Verdict {
  readonly rows: number;
  /** Acknowledged and not in the table. */
  readonly lost: number;
  /** Acknowledged, not in the table, and destroyed by flipped bits, which raised an alarm. */
  readonly lostAndAlarmed: number;
  /** In the table twice with the same content. */
  readonly doubled: number;
  /** The same, of records whose bytes in the log were destroyed, which raised an alarm. */
  readonly doubledAndAlarmed: number;
  /** In the table and never sent, or not with this content. */
  readonly invented: number;
  /** Ids with two contents of which none is flagged. */
  readonly unflagged: number;
  /** Flipped bits that nobody was told about. */
  readonly unalarmed: number;
  /** A few of each, for a person. */
  readonly examples: readonly string[];
}

interface StoredRow {
  readonly Stream: string;
  readonly Place: string;
  readonly RecordId: string;
  readonly Hash: string;
  readonly Canary: string;
  readonly Nanoseconds: string;
  readonly Flags: number;
}

const PAGE = 100_000;

/** Reads the whole table and compares. */
export async function reconcile(world: World): Promise<Verdict> {
  const { records, book, service, damages } = world;
  const examples: string[] = [];
  const example = (what: string): void => {
    if (examples.length < 30) examples.push(what);
  };
  const seen = new Map<string, StoredRow>();
  const flagged = new Set<string>();
  let [rows, doubled, doubledAndAlarmed, invented, unflagged] = [0, 0, 0, 0, 0];
  for await (const row of storedRows(service.sqlUrl)) {
    rows++;
    const item = records.find(row.RecordId, row.Canary);
    const wrong = item === undefined ? "an unknown record" : whatIsWrong(world, item, row);
    if (item === undefined || wrong !== undefined) {
      invented++;
      example(`invented: ${row.RecordId}, ${wrong}`);
      continue;
    }
    const key = keyOf(item);
    const first = seen.get(key);
    // Where the table had a record before its bytes in the log were destroyed, only the table knows its key.
    if (first !== undefined && book.isHit(item)) doubledAndAlarmed++;
    else if (first !== undefined) {
      doubled++;
      example(`doubled: ${key}: ${place(first)} and ${place(row)}`);
    }
    seen.set(key, row);
    if ((row.Flags & RowFlag.Conflict) !== 0) flagged.add(row.RecordId);
  }
  let [lost, lostAndAlarmed] = [0, 0];
  for (const item of book.allAcknowledged()) {
    if (seen.has(keyOf(item))) continue;
    if (book.isHit(item)) lostAndAlarmed++;
    else {
      lost++;
      example(`lost: ${keyOf(item)}`);
    }
  }
  for (const key of seen.keys()) {
    const [producer, n, variant] = key.split("-").map(Number);
    const id = records.id({ producer: producer!, n: n!, variant: 0 });
    if (variant === 0 || !seen.has(`${producer}-${n}-0`) || flagged.has(id)) continue;
    if (book.isHit({ producer: producer!, n: n!, variant: 0 })) continue;
    unflagged++;
    example(`two contents, none flagged: ${id}`);
  }
  const alarms = service.alarms.map(({ message }) => message);
  let unalarmed = 0;
  for (const { file, mustAlarm } of damages) {
    // The stream and the file are in the message, in one of two forms.
    const names = [file, file.replace(/^(.{36})-/, "$1/")];
    if (!mustAlarm || alarms.some((message) => names.some((name) => message.includes(name)))) continue;
    unalarmed++;
    example(`no alarm about flipped bits: ${file}`);
  }
  return { rows, lost, lostAndAlarmed, doubled, doubledAndAlarmed, invented, unflagged, unalarmed, examples };
}

/** Files of the log that are not empty: what is not in the table yet. */
export function filesLeft(log: string): string[] {
  return readdirSync(log).flatMap((stream) => readdirSync(`${log}/${stream}`).map((name) => `${stream}/${name}`));
}

function whatIsWrong({ records, book }: World, item: Item, row: StoredRow): string | undefined {
  if (!book.isSent(item)) return "it was never sent";
  const { canary, contentHash, timestamp } = records.expected(item);
  if (row.Canary !== canary) return `another canary: ${row.Canary.slice(0, 80)}`;
  if (row.Hash !== contentHash) return `content hash ${row.Hash}, sent was ${contentHash}`;
  if (BigInt(row.Nanoseconds) !== timestamp) return `timestamp ${row.Nanoseconds}, sent was ${timestamp}`;
  return undefined;
}

function keyOf({ producer, n, variant }: Item): string {
  return `${producer}-${n}-${variant}`;
}

function place({ Stream, Place }: StoredRow): string {
  return `${Stream}/${Place}`;
}

async function* storedRows(url: string): AsyncIterable<StoredRow> {
  const client = createClient({ url, database: "otel_audit", log: { level: ClickHouseLogLevel.OFF } });
  const ask = async <T>(query: string): Promise<T[]> =>
    (await client.query({ query, format: "JSONEachRow" })).json<T>();
  try {
    const streams = await ask<{ Stream: string; last: string }>(
      "SELECT toString(StreamId) AS Stream, toString(max(Sequence)) AS last FROM audit_events GROUP BY StreamId",
    );
    for (const { Stream, last } of streams) {
      for (let from = 0; from <= Number(last); from += PAGE) {
        yield* await ask<StoredRow>(
          `SELECT toString(StreamId) AS Stream, toString(Sequence) AS Place, RecordId, hex(ContentHash) AS Hash,
           SpanAttributes['test.canary'] AS Canary, toString(toUnixTimestamp64Nano(Timestamp)) AS Nanoseconds, Flags
           FROM audit_events WHERE StreamId = '${Stream}' AND Sequence >= ${from} AND Sequence < ${from + PAGE}`,
        );
      }
    }
  } finally {
    await client.close();
  }
}
