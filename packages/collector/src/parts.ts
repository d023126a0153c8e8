import type { SpanIndex } from "@otel-audit/otlp";

/** Spans, and bytes of them, that are worked on in one turn of the event loop: some 30 ms. */
const PART_SPANS = 8_192;
const PART_BYTES = 4 * 1024 * 1024;

/**
 * Where the part of a request that begins with span `from` ends: the number of the span behind it. Who works on every span
 * lets others have a turn between two parts (`setImmediate`), or a request of a million spans is the only one for seconds.
 */
export function partEnd(index: SpanIndex, from: number): number {
  const most = Math.min(index.count, from + PART_SPANS);
  const bytes = index.start[from]! + PART_BYTES;
  let to = from + 1;
  while (to < most && index.end[to]! <= bytes) to++;
  return to;
}
