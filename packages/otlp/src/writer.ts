import { OtlpError } from "./errors.ts";

const encoder = new TextEncoder();
const SHORT = 48;

const SLAB = 16 * 1024;
let slab = new Uint8Array(SLAB);
let slabUsed = 0;

/**
 * Writes protobuf fields into a buffer that grows. A nested message is opened with `open` and closed with `close`,
 * which puts its length, in the shortest form, before it.
 */
export class ByteWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 1024) {
    this.bytes = new Uint8Array(capacity);
  }

  clear(): void {
    this.length = 0;
  }

  /** A copy of what was written. Short ones share memory, as Node's Buffers do: an allocation each would cost more than
   * the encoding. */
  finish(): Uint8Array {
    const { length } = this;
    if (length > SLAB / 8) return this.bytes.slice(0, length);
    if (slabUsed + length > SLAB) {
      slab = new Uint8Array(SLAB);
      slabUsed = 0;
    }
    const copy = slab.subarray(slabUsed, slabUsed + length);
    copy.set(this.bytes.subarray(0, length));
    slabUsed += length;
    return copy;
  }

  /** Makes sure that `count` more bytes fit. */
  need(count: number): void {
    const wanted = this.length + count;
    if (wanted <= this.bytes.length) return;
    const wider = new Uint8Array(Math.max(wanted, this.bytes.length * 2));
    wider.set(this.bytes.subarray(0, this.length));
    this.bytes = wider;
  }

  byte(value: number): void {
    this.need(1);
    this.bytes[this.length++] = value;
  }

  /** An unsigned integer below 2^32. */
  varint(value: number): void {
    this.need(5);
    let rest = value;
    while (rest > 0x7f) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.length++] = rest;
  }

  /** A signed or unsigned 64-bit integer; negative ones take 10 bytes, as protobuf's int64 and enums do. */
  varint64(value: bigint): void {
    this.need(10);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.length++] = Number(rest);
  }

  /** A safe integer as int64. */
  varintNumber(value: number): void {
    if (value >= 0 && value <= 0xffffffff) this.varint(value);
    else this.varint64(BigInt(value));
  }

  /** Little endian. */
  fixed32(value: number): void {
    this.need(4);
    const { bytes, length } = this;
    bytes[length] = value;
    bytes[length + 1] = value >>> 8;
    bytes[length + 2] = value >>> 16;
    bytes[length + 3] = value >>> 24;
    this.length = length + 4;
  }

  /** Little endian; `value` is below 2^64. */
  fixed64(value: bigint): void {
    this.fixed32(Number(BigInt.asUintN(32, value)));
    this.fixed32(Number(value >> 32n));
  }

  double(value: number): void {
    doubleScratch.setFloat64(0, value, true);
    this.fixed32(doubleScratch.getUint32(0, true));
    this.fixed32(doubleScratch.getUint32(4, true));
  }

  raw(source: Uint8Array): void {
    this.need(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** The bytes of `source` in [start, end). */
  copy(source: Uint8Array, start: number, end: number): void {
    if (end - start > SHORT) {
      this.raw(source.subarray(start, end));
      return;
    }
    this.need(end - start);
    const { bytes, length } = this;
    for (let i = start; i < end; i++) bytes[length + i - start] = source[i]!;
    this.length = length + end - start;
  }

  /** Length and UTF-8 of a string; lone surrogates become U+FFFD. */
  string(value: string): void {
    if (value.length <= SHORT && this.#shortAscii(value)) return;
    const mark = this.open();
    this.need(value.length * 3);
    const { written } = encoder.encodeInto(value, this.bytes.subarray(this.length));
    this.length += written;
    this.close(mark);
  }

  #shortAscii(value: string): boolean {
    const count = value.length;
    this.need(count + 1);
    const { bytes, length } = this;
    for (let i = 0; i < count; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[length + 1 + i] = code;
    }
    bytes[length] = count;
    this.length = length + 1 + count;
    return true;
  }

  /** Begins a nested message or payload whose length is not known yet; gives the mark for `close`. */
  open(): number {
    this.byte(0);
    return this.length;
  }

  close(mark: number): void {
    const size = this.length - mark;
    if (size < 0x80) {
      this.bytes[mark - 1] = size;
      return;
    }
    if (size > 0x7fffffff) throw new OtlpError("INVALID_FIELD", `message of ${size} bytes: protobuf ends at 2 GiB`, 0);
    const extra = varintLength(size) - 1;
    this.need(extra);
    this.bytes.copyWithin(mark + extra, mark, this.length);
    this.length = mark - 1;
    this.varint(size);
    this.length = mark + extra + size;
  }
}

const doubleScratch = new DataView(new ArrayBuffer(8));

/** How many bytes an unsigned integer below 2^32 takes as a varint. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}
