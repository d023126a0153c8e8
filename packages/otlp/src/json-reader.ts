import { OtlpError } from "./errors.ts";
import type { ByteWriter } from "./writer.ts";

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

type JsonKind = "object" | "array" | "string" | "number" | "true" | "false" | "null";

/** Finds known keys by their bytes: in OTLP/JSON most strings are keys, and making each anew takes most of the time. */
export class KeyTable {
  readonly #buckets: { readonly key: string; readonly bytes: Uint8Array }[][] = Array.from({ length: 256 }, () => []);

  constructor(keys: Iterable<string>) {
    for (const key of keys) {
      const bytes = Buffer.from(key, "latin1");
      this.#bucket(bytes, 0, bytes.length).push({ key, bytes });
    }
  }

  find(bytes: Uint8Array, start: number, end: number): string | undefined {
    if (start === end) return undefined;
    next: for (const known of this.#bucket(bytes, start, end)) {
      if (known.bytes.length !== end - start) continue;
      for (let i = start; i < end; i++) if (bytes[i] !== known.bytes[i - start]) continue next;
      return known.key;
    }
    return undefined;
  }

  #bucket(bytes: Uint8Array, start: number, end: number) {
    return this.#buckets[((end - start) * 37 + bytes[start]! * 5 + bytes[end - 1]!) & 255]!;
  }
}

/**
 * Reads JSON (RFC 8259) straight from bytes, without building values: numbers keep their digits (JSON.parse would round
 * nanosecond times), repeated keys are seen, depth is bounded.
 */
export class JsonReader {
  readonly #bytes: Buffer;
  readonly #maxDepth: number;
  #pos = 0;
  #depth = 0;
  // Of the string that was read last.
  #contentStart = 0;
  #contentEnd = 0;
  #plain = true;
  /** Where the reader is, for messages: keys and array indices. The caller keeps it. */
  readonly path: (string | number)[] = [];

  readonly #keys: KeyTable;

  /** @param keys the keys that are expected, to be found without making strings */
  constructor(bytes: Uint8Array, maxDepth: number, keys: KeyTable) {
    this.#keys = keys;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#maxDepth = maxDepth;
    // A byte order mark is not JSON, but RFC 8259 lets a parser ignore it.
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#pos = 3;
  }

  /** What the next value is, without reading it. */
  kind(): JsonKind {
    switch (this.#peek()) {
      case OPEN_BRACE:
        return "object";
      case OPEN_BRACKET:
        return "array";
      case QUOTE:
        return "string";
      case 0x74:
        return "true";
      case 0x66:
        return "false";
      case 0x6e:
        return "null";
      default:
        return "number";
    }
  }

  /** Reads an object; `visit` must read the member's value. */
  object(visit: (key: string) => void): void {
    this.#enter();
    if (this.#peek() === CLOSE_BRACE) return this.#leave();
    for (;;) {
      if (this.#peek() !== QUOTE) this.fail("expected a key");
      const key = this.#key();
      if (this.#peek() !== COLON) this.fail('expected ":"');
      this.#pos++;
      visit(key);
      const next = this.#peek();
      if (next === CLOSE_BRACE) return this.#leave();
      if (next !== COMMA) this.fail('expected "," or "}"');
      this.#pos++;
    }
  }

  /** Reads an array; `visit` must read the item. */
  array(visit: (index: number) => void): void {
    this.#enter();
    if (this.#peek() === CLOSE_BRACKET) return this.#leave();
    for (let index = 0; ; index++) {
      visit(index);
      const next = this.#peek();
      if (next === CLOSE_BRACKET) return this.#leave();
      if (next !== COMMA) this.fail('expected "," or "]"');
      this.#pos++;
    }
  }

  string(): string {
    this.#scanString();
    if (this.#plain) return this.#bytes.toString("latin1", this.#contentStart, this.#contentEnd);
    const content = decoder.decode(this.#bytes.subarray(this.#contentStart, this.#contentEnd));
    if (!content.includes("\\")) return content;
    try {
      const value: string = JSON.parse(`"${content}"`);
      return value;
    } catch (error) {
      return this.fail("invalid escape in a string", error);
    }
  }

  #key(): string {
    const before = this.#pos;
    this.#scanString();
    const known = this.#plain ? this.#keys.find(this.#bytes, this.#contentStart, this.#contentEnd) : undefined;
    if (known !== undefined) return known;
    this.#pos = before;
    return this.string();
  }

  /** Reads a string and writes its length and UTF-8. */
  stringTo(writer: ByteWriter): void {
    const before = this.#pos;
    this.#scanString();
    if (this.#plain) {
      writer.varint(this.#contentEnd - this.#contentStart);
      writer.copy(this.#bytes, this.#contentStart, this.#contentEnd);
    } else {
      this.#pos = before;
      writer.string(this.string());
    }
  }

  /** Reads a number and gives its text. */
  number(): string {
    const start = this.#scanNumber();
    return this.#bytes.toString("latin1", start, this.#pos);
  }

  /** Gives the position of its first byte. */
  #scanNumber(): number {
    this.#peek();
    const bytes = this.#bytes;
    const start = this.#pos;
    let at = start;
    // Nothing but digits, and the first of them is not 0: most numbers.
    let plain = bytes[start] !== 0x30;
    for (; isNumberByte(bytes[at]); at++) if (!isDigit(bytes[at]!)) plain = false;
    if (at === start || (!plain && !NUMBER.test(bytes.toString("latin1", start, at)))) this.fail("expected a value");
    this.#pos = at;
    return start;
  }

  /** Reads `true`, `false` or `null`. */
  literal(word: "true" | "false" | "null"): void {
    this.#peek();
    for (let i = 0; i < word.length; i++) {
      if (this.#bytes[this.#pos + i] !== word.charCodeAt(i)) this.fail(`expected "${word}"`);
    }
    this.#pos += word.length;
  }

  /** Reads whatever comes and makes nothing of it: a large body may be nothing but this. */
  skip(): void {
    const kind = this.kind();
    if (kind === "object") this.#skipObject();
    else if (kind === "array") this.array(this.#skip);
    else if (kind === "string") this.#skipString();
    else if (kind === "number") this.#scanNumber();
    else this.literal(kind);
  }

  readonly #skip = (): void => this.skip();

  #skipObject(): void {
    this.#enter();
    if (this.#peek() === CLOSE_BRACE) return this.#leave();
    for (;;) {
      if (this.#peek() !== QUOTE) this.fail("expected a key");
      this.#skipString();
      if (this.#peek() !== COLON) this.fail('expected ":"');
      this.#pos++;
      this.skip();
      const next = this.#peek();
      if (next === CLOSE_BRACE) return this.#leave();
      if (next !== COMMA) this.fail('expected "," or "}"');
      this.#pos++;
    }
  }

  #skipString(): void {
    const before = this.#pos;
    this.#scanString();
    if (this.#plain) return;
    // Its escapes may be wrong.
    this.#pos = before;
    this.string();
  }

  /** Nothing but white space may follow. */
  finish(): void {
    if (this.#peek() !== -1) this.fail("expected the end");
  }

  fail(problem: string, cause?: unknown): never {
    throw new OtlpError("INVALID_JSON", `invalid JSON at byte ${this.#pos}${this.#where()}: ${problem}`, this.#pos, {
      cause,
    });
  }

  #where(): string {
    let where = "";
    for (const step of this.path) where += typeof step === "number" ? `[${step}]` : `${where === "" ? "" : "."}${step}`;
    return where === "" ? "" : ` (${where})`;
  }

  #enter(): void {
    if (++this.#depth > this.#maxDepth) {
      throw new OtlpError("TOO_DEEP", `JSON nests deeper than ${this.#maxDepth} at byte ${this.#pos}`, this.#pos);
    }
    this.#pos++;
  }

  #leave(): void {
    this.#depth--;
    this.#pos++;
  }

  /** Skips white space; the byte there, or -1 at the end. */
  #peek(): number {
    const bytes = this.#bytes;
    while (this.#pos < bytes.length) {
      const byte = bytes[this.#pos]!;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.#pos++;
    }
    return -1;
  }

  #scanString(): void {
    this.#peek();
    const bytes = this.#bytes;
    const length = bytes.length;
    let plain = true;
    const start = this.#pos + 1;
    for (let at = start; at < length; at++) {
      const byte = bytes[at]!;
      if (byte === QUOTE) {
        this.#contentStart = start;
        this.#contentEnd = at;
        this.#plain = plain;
        this.#pos = at + 1;
        return;
      }
      if (byte === BACKSLASH) {
        plain = false;
        at++;
      } else if (byte < 0x20) {
        this.#pos = at;
        this.fail("control character in a string");
      } else if (byte > 0x7f) {
        plain = false;
      }
    }
    this.#pos = length;
    this.fail("unfinished string");
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isNumberByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return isDigit(byte) || byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45;
}
