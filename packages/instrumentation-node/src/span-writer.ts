import { type AttributeValue, encodeAttribute } from "@otel-audit/otlp/encoding";

const MAX_CACHED = 512;
/** Texts up to this length are copied by a loop. */
const SHORT = 64;

/** Writes fields of an OTLP Span into one buffer that is used again. Made for short texts that are mostly ASCII. */
export class SpanWriter {
  bytes = Buffer.allocUnsafe(16 * 1024);
  /** How much is written. */
  length = 0;
  readonly #keys = new Map<string, Uint8Array>();

  /** An attribute with an integer below 2^53, whose key is encoded already. */
  integer(key: Uint8Array, value: number): void {
    const low = value % 2 ** 28;
    const high = Math.floor(value / 2 ** 28);
    const length = high === 0 ? varintLength(low) : 4 + varintLength(high);
    this.need(key.length + 24);
    this.byte(0x4a);
    this.byte(key.length + 2 + 1 + length);
    this.raw(key);
    this.byte(0x12);
    this.byte(1 + length);
    this.byte(0x18);
    if (high === 0) {
      this.varint(low);
      return;
    }
    for (let shift = 0; shift < 28; shift += 7) this.byte(((low >>> shift) & 0x7f) | 0x80);
    this.varint(high);
  }

  attribute(key: string, value: AttributeValue): void {
    if (typeof value === "number" && value >= 0 && value < 2 ** 28 && Number.isInteger(value)) {
      this.#number(key, value);
      return;
    }
    if (typeof value !== "string") {
      this.raw(encodeAttribute(key, value));
      return;
    }
    const name = this.#key(key);
    const length = this.#size(value);
    const any = 1 + varintLength(length) + length;
    const total = name.length + varintLength(any) + any;
    this.need(total + 16);
    this.byte(0x4a);
    this.varint(total);
    this.raw(name);
    this.varint(any);
    this.byte(0x0a);
    this.#text(value, length);
  }

  /** An attribute with a status, a port, a count: most that are no text. */
  #number(key: string, value: number): void {
    const name = this.#key(key);
    const length = varintLength(value);
    const total = name.length + 2 + length;
    this.need(total + 16);
    this.byte(0x4a);
    this.varint(total);
    this.raw(name);
    this.byte(1 + length);
    this.byte(0x18);
    this.varint(value);
  }

  /** Its key and the tag of its value. */
  #key(key: string): Uint8Array {
    let name = this.#keys.get(key);
    if (name === undefined) {
      name = Buffer.concat([encodedKey(key), Buffer.of(0x12)]);
      if (this.#keys.size < MAX_CACHED) this.#keys.set(key, name);
    }
    return name;
  }

  string(tag: number, value: string): void {
    const length = this.#size(value);
    this.need(length + 8);
    this.byte(tag);
    this.#text(value, length);
  }

  /** Bytes of UTF-8; a loop is faster than a call into C++ for the short texts that records are made of. */
  #size(value: string): number {
    if (value.length > SHORT) return Buffer.byteLength(value);
    for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7f) return Buffer.byteLength(value);
    return value.length;
  }

  /** Length and bytes of a text whose room is there. */
  #text(value: string, length: number): void {
    this.varint(length);
    if (length > SHORT || length !== value.length) {
      this.length += this.bytes.write(value, this.length);
      return;
    }
    const buffer = this.bytes;
    let at = this.length;
    for (let i = 0; i < length; i++) buffer[at++] = value.charCodeAt(i);
    this.length = at;
  }

  /** A fixed64 of nanoseconds, from microseconds, without BigInt. */
  time(tag: number, micros: number): void {
    const low = (micros % 2 ** 32) * 1000;
    this.byte(tag);
    this.length = this.bytes.writeUInt32LE(low % 2 ** 32, this.length);
    this.length = this.bytes.writeUInt32LE(
      Math.floor(micros / 2 ** 32) * 1000 + Math.floor(low / 2 ** 32),
      this.length,
    );
  }

  byte(value: number): void {
    this.bytes[this.length++] = value;
  }

  varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.length++] = rest;
  }

  raw(bytes: Uint8Array): void {
    this.need(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  need(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.bytes.length) return;
    const wider = Buffer.allocUnsafe(Math.max(wanted, this.bytes.length * 2));
    this.bytes.copy(wider, 0, 0, this.length);
    this.bytes = wider;
  }
}

/** KeyValue.key. */
export function encodedKey(key: string): Buffer {
  const text = Buffer.from(key);
  return Buffer.concat([Buffer.of(0x0a), varint(text.length), text]);
}

function varintLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
