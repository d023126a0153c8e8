import { countItems } from "@otel-audit/otlp";
import type { SignalBatch } from "./component.ts";

/**
 * Log records or metric points of a request, by its lengths. JSON would have to be parsed: such a request counts as one.
 *
 * @throws OtlpError for protobuf that does not end at the end of a field
 */
export function signalItems({
  signal,
  bytes,
  contentType,
}: Pick<SignalBatch, "signal" | "bytes" | "contentType">): number {
  return contentType === "application/json" ? 1 : countItems(signal, bytes);
}
