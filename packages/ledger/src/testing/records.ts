// Threads and processes that tests start import this too: nothing of vitest here.
import { type AttributeValue, SPAN_AUDIT, type SpanIndex, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import type { Ledger } from "../ledger.ts";
import type { AppendResult, CollectorFacts } from "../types.ts";

export const FACTS: CollectorFacts = { provenance: "asserted", principal: "p", tenantId: "" };

/** What every span must have. */
export const SPAN = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  name: "n",
  startTimeUnixNano: 1n,
  endTimeUnixNano: 2n,
};

export function auditSpan(attributes: Readonly<Record<string, AttributeValue>>): Uint8Array {
  return encodeSpan({ ...SPAN, attributes: { "audit.action": "READ", ...attributes } });
}

/** @param note makes the content of a record another one, or larger */
export function auditSpans(ids: readonly string[], note = ""): SpanIndex {
  const bodies = ids.map((id) => auditSpan({ "audit.record.id": id, note }));
  return scanTraces(frameSpans({}, { name: "" }, bodies));
}

export function append(ledger: Ledger, ids: readonly string[], note?: string, facts = FACTS): Promise<AppendResult> {
  return ledger.append(auditSpans(ids, note), SPAN_AUDIT, facts);
}
