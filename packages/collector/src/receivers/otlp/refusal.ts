import { encodeStatus, statusToJson } from "@otel-audit/otlp";
import type { Encoding } from "./intake.ts";
import type { RequestError } from "./request-error.ts";

/** A google.rpc.Status. */
export function encodeRefusal(error: RequestError, encoding: Encoding): string | Uint8Array {
  const encode = encoding === "application/json" ? statusToJson : encodeStatus;
  return encode(error.grpcCode, error.message, error.retryAfterMs);
}
