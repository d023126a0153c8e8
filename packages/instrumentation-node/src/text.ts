import { createHash } from "node:crypto";

/** C0, C1, line separators, bidirectional controls (they make a log line read as another one), lone surrogates. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\p{Surrogate}]/gu;
const ELLIPSIS = "…";

/**
 * At most `maxBytes` of UTF-8. What is longer keeps its beginning and gets a hash of the whole, so that two long
 * values with the same beginning stay two values.
 */
export function bound(value: string, maxBytes: number): string {
  // A UTF-16 unit is at most three bytes of UTF-8.
  if (value.length * 3 <= maxBytes || Buffer.byteLength(value) <= maxBytes) return value;
  const hash = `${ELLIPSIS}sha256:${createHash("sha256").update(value).digest("hex").slice(0, 32)}`;
  const head = Buffer.from(value.slice(0, maxBytes)).subarray(0, maxBytes - Buffer.byteLength(hash));
  // A cut through a character leaves a replacement character, which is longer than what it stands for.
  return head.toString("utf8").replace(/\ufffd+$/, "") + hash;
}

/** A name for a record: bounded, without control characters and lone surrogates. Undefined for what is not a name. */
export function cleanName(value: unknown, maxBytes = 256): string | undefined {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (typeof value !== "string" || value === "") return undefined;
  return bound(value.replace(CONTROL, "\ufffd"), maxBytes);
}
