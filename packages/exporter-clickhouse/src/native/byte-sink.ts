/** Values shorter than this are copied byte by byte: a call into native code costs more than the loop. */
const NATIVE_COPY_FROM = 40;

/** Bytes that grow. */
export class ByteSink {
  bytes: Buffer;
  length = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(Math.max(capacity, 64));
  }

  /** Makes room for `size` more bytes and returns the buffer to write into, at `length`. */
  reserve(size: number): Buffer {
    const needed = this.length + size;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    return this.bytes;
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const size = end - start;
    const target = this.reserve(size);
    let at = this.length;
    if (size < NATIVE_COPY_FROM) {
      for (let i = start; i < end; i++) target[at++] = source[i]!;
    } else {
      target.set(source.subarray(start, end), at);
    }
    this.length += size;
  }

  written(): Uint8Array {
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

/** `count` unsigned 32-bit numbers as the bytes of UInt64, little-endian. */
export function uint64s(values: Uint32Array, count: number): Uint8Array {
  const pairs = new Uint32Array(count * 2);
  for (let i = 0; i < count; i++) pairs[2 * i] = values[i]!;
  return new Uint8Array(pairs.buffer);
}

export function uint64(value: number): Uint8Array {
  return uint64s(Uint32Array.of(value), 1);
}
