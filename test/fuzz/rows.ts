import { globSync } from "node:fs";
import { join } from "node:path";
import { decodeRow, readSegment } from "@otel-audit/ledger";
import type { Canaries } from "./canary.ts";

/** Shorter texts are found everywhere. */
const LEAST = 4;
/** What the collector itself puts into rows. */
const OWN_COLUMNS = new Set([
  "RowFormat",
  "StreamId",
  "Sequence",
  "ReceivedAt",
  "Flags",
  "ContentHash",
  "Timestamp",
  "Duration",
  "TraceId",
  "SpanId",
  "ParentSpanId",
  "Links.TraceId",
  "Links.SpanId",
  "Events.Timestamp",
]);

export interface RowVerdict {
  rows: number;
  /** Rows in which nothing is left that names their request. */
  nameless: number;
  readonly problems: string[];
  /** Record ids that are stored, by the request that they name. */
  readonly records: Map<number, Map<string, number>>;
}

/** Looks at every row of the log: all of it has to be of one request, and in that request. */
export async function judgeRows(
  dataDir: string,
  canaries: Canaries,
  bytesOf: (n: number) => Uint8Array | undefined,
  isValid: (n: number) => boolean,
): Promise<RowVerdict> {
  const verdict: RowVerdict = { rows: 0, nameless: 0, problems: [], records: new Map() };
  for (const file of globSync("log/*/*.segment", { cwd: dataDir })) {
    const { rows, offsets } = await readSegment(join(dataDir, file));
    for (let i = 0; i + 1 < offsets.length; i++) {
      const bytes = Buffer.from(rows.buffer, rows.byteOffset + offsets[i]!, offsets[i + 1]! - offsets[i]!);
      judgeRow(bytes, verdict, canaries, bytesOf, isValid);
    }
  }
  return verdict;
}

function judgeRow(
  bytes: Buffer,
  verdict: RowVerdict,
  canaries: Canaries,
  bytesOf: (n: number) => Uint8Array | undefined,
  isValid: (n: number) => boolean,
): void {
  verdict.rows++;
  const { row } = decodeRow(bytes, 0);
  const found = canaries.find(bytes.toString("latin1"));
  const ids = [row["TraceId"], row["Links.TraceId"]].flat().map((id) => canaries.ofId(String(id)));
  for (const n of ids) if (n !== undefined) found.add(n);
  if (found.size > 1) verdict.problems.push(`a row holds canaries of requests ${[...found].join(", ")}`);
  const [n] = found;
  if (n === undefined) {
    verdict.nameless++;
    return;
  }
  const sent = bytesOf(n);
  // What an odd request held is not known.
  if (sent === undefined) return;
  const content = Buffer.from(sent.buffer, sent.byteOffset, sent.length);
  for (const [column, value] of Object.entries(row)) {
    if (OWN_COLUMNS.has(column)) continue;
    for (const text of strings(value)) {
      if (isIn(text, content) || (column === "RecordId" && OWN_ID.test(text))) continue;
      verdict.problems.push(
        `row of request ${n}: ${column} holds ${JSON.stringify(text.slice(0, 100))}, which it did not send`,
      );
    }
  }
  if (!isValid(n)) return;
  const records = verdict.records.get(n) ?? new Map<string, number>();
  verdict.records.set(n, records);
  const id = String(row["RecordId"]);
  records.set(id, (records.get(id) ?? 0) + 1);
}

/** All texts in a value: of lists and maps, and of JSON that is a text. */
function* strings(value: unknown): Generator<string> {
  if (typeof value === "string") {
    if (!/^[[{]/.test(value)) yield value;
    else {
      const inner = parse(value);
      if (inner === undefined) yield value;
      else yield* strings(inner);
    }
  } else if (Array.isArray(value)) {
    for (const item of value) yield* strings(item);
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      yield key;
      yield* strings(item);
    }
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Words that the collector has of its own: names of its columns' values, hashes and lengths of what it cut, numbers. */
const OWN_WORDS = /^(?:[A-Za-z _:./@-]*|-?[\d.e+-]+|sha256:[0-9a-f]{64}:\d+|audit\.raw\.[a-z]+:\d+:[a-z_]+)$/;
/** An id of a record that came without one. */
const OWN_ID = /^[0-9a-f]{32}$/;
/** Where an attribute is whose type is told. */
const PLACE = /^(?:event|link|resource|scope):(?:\d+:)?/;
const BASE64 = /^[A-Za-z0-9+/]+=*$/;

/** What could not be read as UTF-8 is not looked at. */
function isIn(text: string, content: Buffer): boolean {
  if (OWN_WORDS.test(text)) return true;
  const pieces = text.replace(PLACE, "").split("\ufffd");
  if (pieces.every((piece) => piece.length < LEAST || content.includes(piece))) return true;
  return BASE64.test(text) && content.includes(Buffer.from(text, "base64"));
}
