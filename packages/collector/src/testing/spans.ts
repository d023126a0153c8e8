import { encodeTraces, scanTraces, type SpanData } from "@otel-audit/otlp";
import { TraceBatch } from "../trace-batch.ts";

/** What every span must have. */
export const SPAN: SpanData = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "n",
  startTimeUnixNano: 1n,
  endTimeUnixNano: 2n,
};

/** @param note makes the content of a record another one, or larger */
export function auditSpan(recordId: string, note = ""): SpanData {
  return { ...SPAN, attributes: { "audit.action": "READ", "audit.record.id": recordId, note } };
}

/** An ExportTraceServiceRequest. */
export function requestOf(spans: readonly SpanData[]): Uint8Array<ArrayBuffer> {
  // With memory of its own, as fetch wants it.
  return new Uint8Array(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans }] }] }));
}

export function batchOf(spans: readonly SpanData[]): TraceBatch {
  return TraceBatch.of(scanTraces(requestOf(spans)));
}
