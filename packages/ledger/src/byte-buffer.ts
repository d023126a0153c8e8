/** Bytes copied in one step. */
const WORD = 8;
/** From here on a call into native code, with the view that it needs, costs less than copying a word a step. */
const NATIVE_COPY_FROM = 256;

let viewed: Uint8Array = new Uint8Array(0);
let view = new DataView(viewed.buffer);

/** The same memory as a DataView. That of the bytes which were asked for last is kept: mostly the request at hand. */
export function viewOf(bytes: Uint8Array): DataView {
  if (bytes !== viewed) {
    viewed = bytes;
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  return view;
}

/** A growable buffer that is filled over and over: no allocation once it has its size. */
export class ByteBuffer {
  bytes: Buffer;
  length = 0;
  #view: DataView;

  constructor(size = 1024) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.#view = new DataView(this.bytes.buffer);
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

  /** So many zero bytes. */
  zeros(count: number): void {
    this.reserve(count);
    const { bytes, length } = this;
    for (let i = 0; i < count; i++) bytes[length + i] = 0;
    this.length = length + count;
  }

  /** LEB128, as RowBinary has before strings, arrays and maps. */
  varint(value: number): void {
    this.reserve(5);
    const { bytes } = this;
    let at = this.length;
    let rest = value;
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[at++] = rest;
    this.length = at;
  }

  copy(source: Uint8Array, start: number, end: number): void {
    if (end - start < NATIVE_COPY_FROM) {
      this.#copyWords(viewOf(source), source.length, start, end);
      return;
    }
    this.reserve(end - start);
    this.bytes.set(source.subarray(start, end), this.length);
    this.length += end - start;
  }

  /** What stands in [start, end) of another buffer. */
  copyFrom(other: ByteBuffer, start = 0, end: number = other.length): void {
    if (end - start < NATIVE_COPY_FROM) this.#copyWords(other.#view, other.bytes.length, start, end);
    else this.copy(other.bytes, start, end);
  }

  /** A RowBinary String. */
  string(source: Uint8Array, start: number, end: number): void {
    this.varint(end - start);
    this.copy(source, start, end);
  }

  /** ASCII text, for our own words and numbers. */
  ascii(text: string): void {
    const count = text.length;
    this.reserve(count);
    const { bytes, length } = this;
    for (let i = 0; i < count; i++) bytes[length + i] = text.charCodeAt(i);
    this.length = length + count;
  }

  /** A RowBinary String of ASCII text. */
  asciiString(text: string): void {
    this.varint(text.length);
    this.ascii(text);
  }

  /** Little-endian 64 bits from two halves. */
  uint64(low: number, high: number): void {
    this.reserve(8);
    this.#view.setUint32(this.length, low, true);
    this.#view.setUint32(this.length + 4, high, true);
    this.length += 8;
  }

  hex(source: Uint8Array, start: number, end: number): void {
    this.reserve((end - start) * 2);
    let at = this.length;
    for (let i = start; i < end; i++, at += 2) this.#view.setUint16(at, HEX[source[i]!]!);
    this.length = at;
  }

  /**
   * `size` is that of `from`, whose own is a call. The last word brings bytes along that stand behind `end`; what is written
   * next goes over them.
   */
  #copyWords(from: DataView, size: number, start: number, end: number): void {
    this.reserve(end - start + WORD);
    const to = this.#view;
    let at = this.length;
    this.length = at + end - start;
    if (end + WORD <= size) {
      for (let i = start; i < end; i += WORD, at += WORD) to.setBigInt64(at, from.getBigInt64(i, true), true);
    } else {
      for (let i = start; i < end; i++) to.setUint8(at++, from.getUint8(i));
    }
  }

  #grow(needed: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, needed));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** The two digits of each byte as a big-endian number. */
const HEX = Uint16Array.from({ length: 256 }, (_, byte) => {
  const digits = byte.toString(16).padStart(2, "0");
  return (digits.charCodeAt(0) << 8) | digits.charCodeAt(1);
});

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
