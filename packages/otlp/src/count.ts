import { failure, INVALID_TAG } from "./errors.ts";
import { LEN, uint32At, valueEnd, varint32End } from "./wire.ts";

/** The fields that lead from a request down to what is counted, level by level. */
const PATHS = {
  /** ResourceLogs, ScopeLogs, LogRecord. */
  logs: [[1], [2], [2]],
  /** ResourceMetrics, ScopeMetrics, Metric; its gauge, sum, histogram, exponential histogram or summary; data points. */
  metrics: [[1], [2], [2], [5, 7, 9, 10, 11], [1]],
} as const;

const NAMES = { logs: "ExportLogsServiceRequest", metrics: "ExportMetricsServiceRequest" } as const;

/**
 * How many log records or metric points are in an export request, by its lengths only: below what is counted nothing is read.
 *
 * @throws OtlpError for what is no sequence of whole fields: behind it the bytes of another request would be read as its own
 */
export function countItems(signal: keyof typeof PATHS, bytes: Uint8Array): number {
  return countLevel(bytes, 0, bytes.length, signal, 0);
}

function countLevel(bytes: Uint8Array, start: number, end: number, signal: keyof typeof PATHS, level: number): number {
  const path: readonly (readonly number[])[] = PATHS[signal];
  const wanted = path[level]!;
  let count = 0;
  for (let pos = start; pos < end;) {
    const tagEnd = varint32End(bytes, pos, end);
    if (tagEnd < 0) throw failure(tagEnd, NAMES[signal], pos);
    const tag = uint32At(bytes, pos, tagEnd);
    const next = tag >>> 3 === 0 ? INVALID_TAG : valueEnd(bytes, tagEnd, end, tag, 1);
    if (next < 0) throw failure(next, NAMES[signal], pos);
    if ((tag & 7) === LEN && wanted.includes(tag >>> 3)) {
      const payload = varint32End(bytes, tagEnd, end);
      count += level === path.length - 1 ? 1 : countLevel(bytes, payload, next, signal, level + 1);
    }
    pos = next;
  }
  return count;
}
