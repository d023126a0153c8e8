import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { brotliCompress, constants, deflate, gzip, zstdCompress } from "node:zlib";
import type { ClickHouseError } from "../errors.ts";
import { httpStatus } from "./exception.ts";

/** What a statement did, as `X-ClickHouse-Summary` reports it. */
export interface Summary {
  readonly readRows: number;
  readonly readBytes: number;
  readonly writtenRows: number;
  readonly writtenBytes: number;
  /** Seconds. */
  readonly elapsed: number;
}

type Encode = (bytes: Uint8Array) => Promise<Buffer>;

const ENCODERS: ReadonlyMap<string, Encode> = new Map<string, Encode>([
  ["zstd", promisify(zstdCompress)],
  ["gzip", (bytes) => promisify(gzip)(bytes, { level: 3 })],
  ["br", (bytes) => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } })],
  ["deflate", (bytes) => promisify(deflate)(bytes, { level: 3 })],
]);

/** Media types by format, as ClickHouse names them; formats not listed are text. */
const CONTENT_TYPES: readonly [pattern: RegExp, type: string][] = [
  [
    /^JSON(Compact|Strings|CompactStrings|ColumnsWithMetadata|Columns|CompactColumns)?$|^GeoJSON$/,
    "application/json; charset=UTF-8",
  ],
  [/^(JSON.*EachRow.*|JSONLines|NDJSON)$/, "application/x-ndjson; charset=UTF-8"],
  [/^CSV/, "text/csv; charset=UTF-8; header=absent"],
  [/^(TabSeparated|TSV)/, "text/tab-separated-values; charset=UTF-8"],
  [
    /^(Native|RowBinary.*|Parquet|ORC|Arrow.*|Avro|MsgPack|BSONEachRow|Npy|RawBLOB|Protobuf.*|CapnProto)$/,
    "application/octet-stream",
  ],
  [/^XML$/, "application/xml; charset=UTF-8"],
];

/** Media type of a format. */
export function contentType(format: string): string {
  if (/^(CSV|TSV|TabSeparated)\w*WithNames/.test(format))
    return contentType(format.split("With")[0] ?? "").replace("absent", "present");
  return CONTENT_TYPES.find(([pattern]) => pattern.test(format))?.[1] ?? "text/plain; charset=UTF-8";
}

/** Sends an answer, compressed when the request allows it. */
export async function sendResult(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Uint8Array,
  mayCompress: boolean,
): Promise<void> {
  const encoding = mayCompress ? acceptedEncoding(request.headers["accept-encoding"]) : undefined;
  const encode = encoding === undefined ? undefined : ENCODERS.get(encoding);
  let body = bytes;
  if (encoding !== undefined && encode !== undefined) {
    body = await encode(bytes);
    response.setHeader("Content-Encoding", encoding);
  }
  response.setHeader("Content-Length", body.length);
  response.end(request.method === "HEAD" ? undefined : body);
}

function acceptedEncoding(header: string | string[] | undefined): string | undefined {
  const accepted = String(header ?? "")
    .toLowerCase()
    .split(",")
    .map((part) => part.trim().split(/\s*;\s*/))
    .filter(([, quality]) => quality === undefined || !/^q=0(\.0*)?$/.test(quality))
    .map(([name = ""]) => name);
  return [...ENCODERS.keys()].find((name) => accepted.includes(name));
}

/** Sends an exception the way ClickHouse does: the text as body, the number as header. */
export function sendException(response: ServerResponse, error: ClickHouseError, version: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text = error.message.includes("(version ") ? error.message : `${error.message} (version ${version})`;
  const status = httpStatus(error);
  for (const name of ["Content-Encoding", "X-ClickHouse-Format"]) response.removeHeader(name);
  if (status === 401) response.setHeader("WWW-Authenticate", 'Basic realm="otel-audit"');
  if (status === 503) response.setHeader("Retry-After", "1");
  response.setHeader("X-ClickHouse-Exception-Code", String(error.serverCode ?? 0));
  response.setHeader("Content-Type", "text/plain; charset=UTF-8");
  // Node allows any code here; 499 has no phrase of its own.
  response.writeHead(status);
  response.end(`${text}\n`);
}

export function setSummary(response: ServerResponse, summary: Summary): void {
  response.setHeader(
    "X-ClickHouse-Summary",
    JSON.stringify({
      read_rows: String(summary.readRows),
      read_bytes: String(summary.readBytes),
      written_rows: String(summary.writtenRows),
      written_bytes: String(summary.writtenBytes),
      total_rows_to_read: "0",
      result_rows: "0",
      result_bytes: "0",
      elapsed_ns: String(Math.round(summary.elapsed * 1e9)),
    }),
  );
}
