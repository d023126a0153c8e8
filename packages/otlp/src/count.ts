import { LEN, uint32At, valueEnd, varint32End } from "./wire.ts";

/** The fields that lead from a request down to what is counted, level by level. */
const PATHS = {
  /** ResourceLogs, ScopeLogs, LogRecord. */
  logs: [[1], [2], [2]],
  /** ResourceMetrics, ScopeMetrics, Metric; its gauge, sum, histogram, exponential histogram or summary; data points. */
  metrics: [[1], [2], [2], [5, 7, 9, 10, 11], [1]],
} as const;

/**
 * How many log records or metric points are in an export request, by its lengths only: nothing is decoded or checked.
 * What comes after damage is not counted.
 */
export function countItems(signal: keyof typeof PATHS, bytes: Uint8Array): number {
  return countLevel(bytes, 0, bytes.length, PATHS[signal], 0);
}

function countLevel(
  bytes: Uint8Array,
  start: number,
  end: number,
  path: readonly (readonly number[])[],
  level: number,
): number {
  const wanted = path[level]!;
  let count = 0;
  for (let pos = start; pos < end;) {
    const tagEnd = varint32End(bytes, pos, end);
    if (tagEnd < 0) return count;
    const tag = uint32At(bytes, pos, tagEnd);
    const next = valueEnd(bytes, tagEnd, end, tag, 1);
    if (next < 0) return count;
    if ((tag & 7) === LEN && wanted.includes(tag >>> 3)) {
      const payload = varint32End(bytes, tagEnd, end);
      count += level === path.length - 1 ? 1 : countLevel(bytes, payload, next, path, level + 1);
    }
    pos = next;
  }
  return count;
}
