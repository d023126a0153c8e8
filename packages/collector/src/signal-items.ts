import { countItems } from "@otel-audit/otlp";
import type { SignalBatch } from "./component.ts";

/** Log records or metric points of a request, by its lengths. JSON would have to be parsed: such a request counts as one. */
export function signalItems({
  signal,
  bytes,
  contentType,
}: Pick<SignalBatch, "signal" | "bytes" | "contentType">): number {
  return contentType === "application/json" ? 1 : countItems(signal, bytes);
}
