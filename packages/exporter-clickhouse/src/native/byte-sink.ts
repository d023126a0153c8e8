import { type Source, viewOf } from "./source.ts";

/** From here on a call into native code, with the view that it needs, costs less than copying four bytes a step. */
const NATIVE_COPY_FROM = 160;

/** Bytes that grow. */
export class ByteSink {
  bytes: Buffer<ArrayBuffer>;
  view: DataView;
  length = 0;

  /** @param memory to begin with, or how many bytes of it. */
  constructor(memory: number | ArrayBuffer) {
    this.bytes = typeof memory === "number" ? Buffer.allocUnsafeSlow(Math.max(memory, 64)) : Buffer.from(memory);
    this.view = viewOf(this.bytes);
  }

  /** Makes room for `size` more bytes at `length`. */
  reserve(size: number): void {
    const needed = this.length + size;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
    this.view = viewOf(grown);
  }

  copy(source: Source, start: number, end: number): void {
    const size = end - start;
    this.reserve(size);
    const at = this.length;
    this.length = at + size;
    if (size >= NATIVE_COPY_FROM) {
      this.bytes.set(source.bytes.subarray(start, end), at);
      return;
    }
    const { view } = this;
    const from = source.view;
    let i = 0;
    for (; i + 8 <= size; i += 8) view.setBigInt64(at + i, from.getBigInt64(start + i));
    for (; i < size; i++) view.setUint8(at + i, from.getUint8(start + i));
  }

  /** Writes what stands behind `from` so many times more. */
  repeat(from: number, times: number): void {
    const size = this.length - from;
    this.reserve(size * times);
    const end = this.length + size * times;
    // What was just written is written again with it: few calls, however often.
    while (this.length < end) {
      const chunk = Math.min(this.length - from, end - this.length);
      this.bytes.copyWithin(this.length, from, from + chunk);
      this.length += chunk;
    }
  }

  /** As UInt64, little-endian: every count and total of ours fits into its lower half. */
  uint64(value: number): void {
    this.reserve(8);
    this.view.setUint32(this.length, value, true);
    this.view.setUint32(this.length + 4, 0, true);
    this.length += 8;
  }

  append(value: Uint8Array): void {
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  written(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }
}

/** Unsigned LEB128, as ClickHouse writes lengths and counts. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

/** A length-prefixed string. */
export function text(value: string): Uint8Array {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([varint(bytes.length), bytes]);
}
