import { type Attributes, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { expect } from "vitest";
import { ByteBuffer } from "../byte-buffer.ts";
import { decodeRow } from "../row-decode.ts";
import { RowEncoder } from "../row-encoder.ts";
import { LIMITS } from "../row-format.ts";
import type { CollectorFacts } from "../types.ts";
import { SPAN } from "./records.ts";

/** A collector that knows nothing but what the span says. */
export const NO_FACTS: CollectorFacts = { provenance: "asserted", principal: "", tenantId: "" };

export interface Row extends Record<string, unknown> {
  readonly Flags: number;
  readonly SpanAttributes: Record<string, string>;
  readonly ResourceAttributes: Record<string, string>;
  readonly AttributeTypes: Record<string, string>;
}

/** The row of a span, whole and within the limit of a record. */
export function encodeRow(
  body: Uint8Array,
  facts = NO_FACTS,
  resource: Attributes = {},
): { row: Row; bytes: Uint8Array } {
  const index = scanTraces(frameSpans(resource, { name: "" }, [body]));
  const encoder = new RowEncoder();
  const out = new ByteBuffer(16);
  encoder.begin(facts);
  encoder.encode(out, index, 0);
  const bytes = out.bytes.subarray(0, out.length);
  expect(bytes.length).toBeLessThanOrEqual(LIMITS.record);
  const { row, end } = decodeRow(bytes, 0);
  expect(end).toBe(bytes.length);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the columns of format 1
  return { row: row as Row, bytes };
}

export function encodeAttributes(attributes: Attributes, facts = NO_FACTS): Row {
  return encodeRow(encodeSpan({ ...SPAN, attributes }), facts).row;
}
