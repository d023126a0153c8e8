/** A growable buffer that is filled over and over: no allocation once it has its size. */
export class ByteBuffer {
  bytes: Buffer;
  length = 0;

  constructor(size = 1024) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  clear(): void {
    this.length = 0;
  }

  reserve(count: number): void {
    if (this.length + count > this.bytes.length) this.#grow(this.length + count);
  }

  byte(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** LEB128, as RowBinary has before strings, arrays and maps. */
  varint(value: number): void {
    this.reserve(5);
    let rest = value;
    while (rest > 0x7f) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.length++] = rest;
  }

  copy(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.reserve(count);
    const to = this.bytes;
    let at = this.length;
    // A call into the engine costs more than a few bytes copied here.
    if (count < 48) for (let i = start; i < end; i++) to[at++] = source[i]!;
    else to.set(source.subarray(start, end), at);
    this.length += count;
  }

  /** A RowBinary String. */
  string(source: Uint8Array, start: number, end: number): void {
    this.varint(end - start);
    this.copy(source, start, end);
  }

  /** ASCII text, for our own words and numbers. */
  ascii(text: string): void {
    this.reserve(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[this.length++] = text.charCodeAt(i);
  }

  /** A RowBinary String of ASCII text. */
  asciiString(text: string): void {
    this.varint(text.length);
    this.ascii(text);
  }

  /** Little-endian 64 bits from two halves. */
  uint64(low: number, high: number): void {
    this.reserve(8);
    this.length = this.bytes.writeUInt32LE(low >>> 0, this.length);
    this.length = this.bytes.writeUInt32LE(high >>> 0, this.length);
  }

  hex(source: Uint8Array, start: number, end: number): void {
    this.reserve((end - start) * 2);
    for (let i = start; i < end; i++) {
      const value = source[i]!;
      this.bytes[this.length++] = hexDigit(value >>> 4);
      this.bytes[this.length++] = hexDigit(value & 15);
    }
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, needed));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }
}

function hexDigit(value: number): number {
  return value < 10 ? 48 + value : 87 + value;
}

/** Order of two byte strings: unsigned bytes, a prefix first (rule E5). */
export function compareBytes(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const shared = Math.min(aEnd - aStart, bEnd - bStart);
  for (let i = 0; i < shared; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aStart - (bEnd - bStart);
}

/** Where to cut bytes at `limit` so that no UTF-8 character is cut in two: before up to three continuation bytes. */
export function cutAt(bytes: Uint8Array, start: number, end: number, limit: number): number {
  if (end - start <= limit) return end;
  let cut = start + limit;
  for (let back = 0; back < 3 && cut > start && (bytes[cut]! & 0xc0) === 0x80; back++) cut--;
  return (bytes[cut]! & 0xc0) === 0x80 ? start + limit : cut;
}
