/** RowBinary rows one behind the other. */
export interface Rows {
  readonly rows: Uint8Array<ArrayBuffer>;
  /** Where each row starts, and where the last one ends. */
  readonly offsets: Uint32Array<ArrayBuffer>;
}

const NANOS_PER_DAY = 86_400_000_000_000n;

/**
 * `otel_traces` has a partition for each day of the producer's clock, and every partition of an insert is a part of its
 * own. A producer that spreads its spans over thousands of days must not stall everybody's: the busiest days stay, the
 * spans of the others are left out.
 *
 * @param block rows that start with their Timestamp, Int64 nanoseconds
 */
export function keepBusiestDays(block: Rows, limit: number): Rows {
  const { rows, offsets } = block;
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  const count = offsets.length - 1;
  const dayOf = (row: number): bigint => view.getBigInt64(offsets[row]!, true) / NANOS_PER_DAY;
  const spans = new Map<bigint, number>();
  for (let row = 0; row < count; row++) spans.set(dayOf(row), (spans.get(dayOf(row)) ?? 0) + 1);
  if (spans.size <= limit) return block;
  const busiest = [...spans].toSorted(([, a], [, b]) => b - a).slice(0, limit);
  const kept = new Set(busiest.map(([day]) => day));
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const starts = [0];
  for (let row = 0; row < count; row++) {
    if (!kept.has(dayOf(row))) continue;
    parts.push(rows.subarray(offsets[row], offsets[row + 1]));
    starts.push(starts.at(-1)! + parts.at(-1)!.length);
  }
  return { rows: Buffer.concat(parts), offsets: Uint32Array.from(starts) };
}
