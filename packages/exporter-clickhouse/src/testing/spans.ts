import { randomBytes } from "node:crypto";
import { encodeTraces, scanTraces, SPAN_AUDIT } from "@otel-audit/otlp";
import type { Attributes, SpanData } from "@otel-audit/otlp";
import type { AppendResult, Ledger } from "@otel-audit/ledger";

/** An audit span with ids of its own. */
export function auditSpan(attributes: Attributes = {}, rest: Partial<SpanData> = {}): SpanData {
  return {
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    name: "file.read",
    startTimeUnixNano: 1_795_000_000_000_000_000n,
    endTimeUnixNano: 1_795_000_000_000_001_000n,
    attributes: {
      "audit.action": "READ",
      "audit.event.name": "file.read",
      "audit.outcome": "success",
      "audit.actor.id": "agent:test",
      "audit.actor.type": "agent",
      "audit.record.id": randomBytes(16).toString("hex"),
      "audit.target.type": "file",
      "audit.target.id": "file:///srv/kb/a.md",
      ...attributes,
    },
    ...rest,
  };
}

export function request(spans: readonly SpanData[]): Uint8Array {
  return encodeTraces({
    resourceSpans: [
      {
        resource: { attributes: { "service.name": "test" } },
        scopeSpans: [{ scope: { name: "test", version: "1" }, spans }],
      },
    ],
  });
}

/** Puts spans into the log. */
export async function append(ledger: Ledger, spans: readonly SpanData[], principal = ""): Promise<AppendResult> {
  return await ledger.append(scanTraces(request(spans)), SPAN_AUDIT, {
    provenance: "asserted",
    principal,
    tenantId: "",
  });
}
