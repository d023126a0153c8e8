import { AttributeList, ValueKind } from "@otel-audit/otlp";
import { type ByteBuffer, compareBytes } from "./byte-buffer.ts";
import { LIMITS } from "./row-format.ts";
import { WireField, broken, varintAt } from "./value-wire.ts";

/** The word for a value's kind in `AttributeTypes`, by ValueKind. */
export const KIND_NAMES: readonly string[] = ["absent", "string", "bool", "int", "double", "array", "kvlist", "bytes"];

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SHORT_ESCAPES: Readonly<Record<number, string>> = { 8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r" };

const element = new WireField();

/**
 * Writes attribute values as text (rule E6). Strings stay the producer's bytes, also inside JSON. Stops a little above
 * the limit it is given: the caller cuts.
 */
export class ValueWriter {
  /** The last value has a kvlist with a repeated key; the first was taken. */
  repeatedKey = false;
  /** Something inside the last value was left out: nested deeper than `LIMITS.depth`, or beyond `LIMITS.members`. */
  incomplete = false;
  readonly #lists: AttributeList[] = [];
  readonly #field = new WireField();
  #out!: ByteBuffer;
  #stop = 0;

  /** @param limit bytes after which the rest may be left out */
  write(out: ByteBuffer, bytes: Uint8Array, kind: number, start: number, end: number, limit: number): void {
    this.#out = out;
    this.#stop = out.length + limit;
    this.repeatedKey = false;
    this.incomplete = false;
    switch (kind) {
      case ValueKind.String:
        out.copy(bytes, start, Math.min(end, start + limit + 4));
        break;
      case ValueKind.Bytes:
        this.#base64(bytes, start, end, limit);
        break;
      case ValueKind.Double:
        out.ascii(doubleText(doubleAt(bytes, start)));
        break;
      case ValueKind.Empty:
        break;
      default:
        this.#json(bytes, kind, start, end, 0);
    }
  }

  #json(bytes: Uint8Array, kind: number, start: number, end: number, depth: number): void {
    const out = this.#out;
    switch (kind) {
      case ValueKind.String:
        this.#quoted(bytes, start, end);
        break;
      case ValueKind.Bool:
        out.ascii(isTrue(bytes, start, end) ? "true" : "false");
        break;
      case ValueKind.Int:
        writeInteger(out, bytes, start, end);
        break;
      case ValueKind.Double: {
        const value = doubleAt(bytes, start);
        out.ascii(Number.isFinite(value) ? doubleText(value) : `"${doubleText(value)}"`);
        break;
      }
      case ValueKind.Bytes:
        out.byte(QUOTE);
        this.#base64(bytes, start, end, LIMITS.value);
        out.byte(QUOTE);
        break;
      case ValueKind.Array:
      case ValueKind.KvList:
        if (depth === LIMITS.depth) {
          this.incomplete = true;
          out.ascii("null");
        } else if (kind === ValueKind.Array) this.#array(bytes, start, end, depth);
        else this.#object(bytes, start, end, depth);
        break;
      default:
        out.ascii("null");
    }
  }

  #array(bytes: Uint8Array, start: number, end: number, depth: number): void {
    this.#out.byte(0x5b);
    const field = this.#field;
    let first = true;
    for (let at = start; at < end && this.#out.length <= this.#stop;) {
      at = field.read(bytes, at, end);
      if (field.number !== 1) continue;
      if (!first) this.#out.byte(0x2c);
      first = false;
      field.readMember(bytes, field.start, field.end);
      this.#json(bytes, field.number, field.start, field.end, depth + 1);
    }
    this.#out.byte(0x5d);
  }

  #object(bytes: Uint8Array, start: number, end: number, depth: number): void {
    const list = (this.#lists[depth] ??= new AttributeList());
    list.clear();
    const field = this.#field;
    for (let at = start; at < end;) {
      at = field.read(bytes, at, end);
      if (field.number !== 1) continue;
      if (list.count === LIMITS.members) {
        // Sorting them all would let one value stop the collector.
        this.incomplete = true;
        break;
      }
      if (list.append(bytes, field.start, field.end) < 0) throw broken(field.start);
    }
    const order = Array.from({ length: list.count }, (_, i) => i).toSorted(
      (a, b) =>
        compareBytes(bytes, list.keyStart[a]!, list.keyEnd[a]!, bytes, list.keyStart[b]!, list.keyEnd[b]!) || a - b,
    );
    this.#out.byte(0x7b);
    let last = -1;
    for (const i of order) {
      if (this.#out.length > this.#stop) break;
      const keyStart = list.keyStart[i]!;
      const keyEnd = list.keyEnd[i]!;
      if (last >= 0) {
        if (compareBytes(bytes, list.keyStart[last]!, list.keyEnd[last]!, bytes, keyStart, keyEnd) === 0) {
          this.repeatedKey = true;
          continue;
        }
        this.#out.byte(0x2c);
      }
      last = i;
      this.#quoted(bytes, keyStart, keyEnd);
      this.#out.byte(0x3a);
      this.#json(bytes, list.kind[i]!, list.valueStart[i]!, list.valueEnd[i]!, depth + 1);
    }
    this.#out.byte(0x7d);
  }

  /** RFC 8259 with the fewest escapes; bytes that are not UTF-8 stay as they are. */
  #quoted(bytes: Uint8Array, start: number, end: number): void {
    const out = this.#out;
    out.byte(QUOTE);
    for (let i = start; i < end && out.length <= this.#stop; i++) {
      const byte = bytes[i]!;
      if (byte === QUOTE || byte === BACKSLASH) {
        out.byte(BACKSLASH);
        out.byte(byte);
      } else if (byte < 0x20) {
        out.ascii(SHORT_ESCAPES[byte] ?? `\\u00${byte.toString(16).padStart(2, "0")}`);
      } else {
        out.byte(byte);
      }
    }
    out.byte(QUOTE);
  }

  #base64(bytes: Uint8Array, start: number, end: number, limit: number): void {
    const whole = Math.min(end, start + Math.ceil((limit + 1) / 4) * 3);
    this.#out.ascii(Buffer.from(bytes.buffer, bytes.byteOffset + start, whole - start).toString("base64"));
  }
}

/**
 * Finds the elements of an ArrayValue message that holds only strings: start and end of the first `max` in `into`.
 * @returns how many there are, or -1 when there is another kind among them
 */
export function stringElements(bytes: Uint8Array, start: number, end: number, max: number, into: number[]): number {
  let count = 0;
  into.length = 0;
  for (let at = start; at < end;) {
    at = element.read(bytes, at, end);
    if (element.number !== 1) continue;
    element.readMember(bytes, element.start, element.end);
    if (element.number !== ValueKind.String) return -1;
    if (count < max) into.push(element.start, element.end);
    count++;
  }
  return count;
}

/** ES Number to text, which is also what Go's encoding/json writes; `-0`, `NaN`, `Infinity`, `-Infinity`. */
function doubleText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

function doubleAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat64(at, true);
}

function isTrue(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if ((bytes[i]! & 0x7f) !== 0) return true;
  return false;
}

function writeInteger(out: ByteBuffer, bytes: Uint8Array, start: number, end: number): void {
  // Up to 28 bits without a BigInt: status codes, ports, sizes.
  if (end - start <= 4) {
    let value = 0;
    for (let i = end - 1; i >= start; i--) value = value * 128 + (bytes[i]! & 0x7f);
    out.ascii(String(value));
    return;
  }
  out.ascii(String(BigInt.asIntN(64, varintAt(bytes, start, end))));
}
