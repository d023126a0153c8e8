import { DoubleValue, readAnyValue, ValueKind } from "@otel-audit/otlp";
import type { AttributeValue } from "@otel-audit/otlp";

/**
 * An attribute's value as upstream's ClickHouse exporter writes it, which is pdata's `Value.AsString`: bytes in base64,
 * arrays and kvlists as Go's JSON (keys sorted, `<`, `>` and `&` escaped), an unset value as "". Strings are not for this
 * function: they are copied as they came.
 */
export function valueText(bytes: Uint8Array, kind: number, start: number, end: number): string {
  const value = readAnyValue(bytes, kind, start, end);
  if (value === null) return "";
  if (typeof value === "string") return value;
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (value instanceof DoubleValue) return doubleText(value.value);
  if (typeof value === "number") return kind === ValueKind.Double ? doubleText(value) : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  // Go's encoder refuses a NaN inside; upstream drops the error and keeps the empty text.
  return json(value) ?? "";
}

/** JavaScript and Go switch to exponents at the same bounds and both write the shortest digits. */
function doubleText(value: number): string {
  if (Number.isNaN(value)) return "json: unsupported value: NaN";
  if (!Number.isFinite(value)) return `json: unsupported value: ${value > 0 ? "+" : "-"}Inf`;
  return Object.is(value, -0) ? "-0" : String(value);
}

function json(value: AttributeValue): string | undefined {
  if (value === null) return "null";
  if (typeof value === "string") return jsonString(value);
  if (typeof value === "boolean" || typeof value === "bigint") return String(value);
  if (typeof value === "number" || value instanceof DoubleValue) {
    const number = Number(value);
    return Number.isFinite(number) ? doubleText(number) : undefined;
  }
  if (value instanceof Uint8Array) return jsonString(Buffer.from(value).toString("base64"));
  if (isList(value)) {
    const items = value.map(json);
    return items.includes(undefined) ? undefined : `[${items.join(",")}]`;
  }
  const members: string[] = [];
  const entries = Object.entries(value).toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  for (const [key, member] of entries) {
    const text = json(member);
    if (text === undefined) return undefined;
    members.push(`${jsonString(key)}:${text}`);
  }
  return `{${members.join(",")}}`;
}

function isList(value: AttributeValue): value is readonly AttributeValue[] {
  return Array.isArray(value);
}

/** Go escapes these five beside what JSON demands, so that its JSON can stand in HTML and JavaScript. */
function jsonString(value: string): string {
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
