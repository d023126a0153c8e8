import { expect } from "vitest";
import { decodeRow } from "../row-decode.ts";
import { readSegment } from "../segment-rows.ts";
import type { ClosedSegment } from "../types.ts";

/** All rows of closed segments, in order; checks that they are whole and without a gap. */
export async function rowsOf(segments: readonly ClosedSegment[]): Promise<Record<string, unknown>[]> {
  const result: Record<string, unknown>[] = [];
  for (const segment of segments) {
    const read = await readSegment(segment.path);
    expect(read.segment).toEqual(segment);
    for (let i = 0; i < segment.count; i++) {
      const { row, end } = decodeRow(read.rows, read.offsets[i]!);
      expect(end).toBe(read.offsets[i + 1]);
      expect(row["Sequence"]).toBe(segment.firstSequence + BigInt(i));
      expect(row["StreamId"]).toBe(segment.streamId);
      result.push(row);
    }
  }
  return result;
}

export async function idsOf(segments: readonly ClosedSegment[]): Promise<string[]> {
  return (await rowsOf(segments)).map((row) => String(row["RecordId"]));
}
