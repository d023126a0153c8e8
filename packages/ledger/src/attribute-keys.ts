import { COLLECTOR_ONLY_ATTRIBUTES, COLLECTOR_ONLY_PREFIXES } from "@otel-audit/semantic-conventions";
import { TYPED_COLUMNS } from "./row-format.ts";

/** A key that has no rule of its own. */
export const PLAIN = -1;
/** A key that only a collector may set. */
export const COLLECTOR_ONLY = -2;

interface KnownKey {
  readonly bytes: Uint8Array;
  readonly answer: number;
}

const encoder = new TextEncoder();
const PREFIXES = COLLECTOR_ONLY_PREFIXES.map((prefix) => encoder.encode(prefix));
const BUCKETS = 256;
const table: KnownKey[][] = Array.from({ length: BUCKETS }, () => []);
const firstBytes = new Uint8Array(256);

for (const [i, { attribute }] of TYPED_COLUMNS.entries()) register(attribute, i);
for (const attribute of COLLECTOR_ONLY_ATTRIBUTES) register(attribute, COLLECTOR_ONLY);
for (const prefix of PREFIXES) firstBytes[prefix[0]!] = 1;

/** The number of the key's typed column in TYPED_COLUMNS, or PLAIN, or COLLECTOR_ONLY. */
export function classifyKey(bytes: Uint8Array, start: number, end: number): number {
  if (start === end || firstBytes[bytes[start]!] === 0) return PLAIN;
  for (const known of table[bucket(bytes, start, end)]!) {
    if (known.bytes.length === end - start && startsWith(bytes, start, known.bytes)) return known.answer;
  }
  for (const prefix of PREFIXES) {
    if (prefix.length <= end - start && startsWith(bytes, start, prefix)) return COLLECTOR_ONLY;
  }
  return PLAIN;
}

/** Names for parts of a record in `AttributeTypes` and `audit.truncated.*` that are not attributes of the span. */
const QUALIFIERS = ["span:", "resource:", "scope:", "event:", "link:", "column:", "record:"].map((text) =>
  encoder.encode(text),
);

/** A span attribute whose key looks like a qualified name is written as `span:<key>`, so that no two names are equal. */
export function needsQualifier(bytes: Uint8Array, start: number, end: number): boolean {
  return QUALIFIERS.some((qualifier) => qualifier.length <= end - start && startsWith(bytes, start, qualifier));
}

function startsWith(bytes: Uint8Array, start: number, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (bytes[start + i] !== prefix[i]) return false;
  return true;
}

function register(attribute: string, answer: number): void {
  const bytes = encoder.encode(attribute);
  firstBytes[bytes[0]!] = 1;
  table[bucket(bytes, 0, bytes.length)]!.push({ bytes, answer });
}

function bucket(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  return (
    (length * 31 + bytes[end - 1]! * 7 + bytes[start + (length >>> 1)]! * 3 + bytes[end - (length >>> 2) - 1]!) &
    (BUCKETS - 1)
  );
}
