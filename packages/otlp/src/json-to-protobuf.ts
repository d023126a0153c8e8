import { MAX_VALUE_DEPTH } from "./attributes.ts";
import { OtlpError } from "./errors.ts";
import { JsonReader, KeyTable } from "./json-reader.ts";
import { type JsonField, type JsonMessage, KEYS, REQUEST } from "./json-shapes.ts";
import { fromBase64, hexDigit } from "./text.ts";
import { ByteWriter } from "./writer.ts";

export interface JsonLimits {
  /** Size of the JSON text in bytes. Default 67108864 (64 MiB, what OTLP recommends). */
  maxBytes?: number | undefined;
  /**
   * How deep objects and arrays of the text may nest. Default 256; a request whose values nest as deep as
   * `MAX_VALUE_DEPTH` allows needs about 140. More than 1000 risks the stack.
   */
  maxDepth?: number | undefined;
}

const KNOWN_KEYS = new KeyTable(KEYS);
const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;
const DEFAULT_MAX_DEPTH = 256;

/** Field 0 does not exist: one such byte makes `scanTraces` flag the span, resource or scope that holds it. */
const BROKEN = 0x07;

/**
 * An OTLP/JSON ExportTraceServiceRequest as protobuf.
 *
 * As OTLP says: keys in lowerCamelCase only, unknown keys ignored, ids hexadecimal (either case), enums as
 * integers only, 64-bit integers as number or decimal string, bytes base64, `null` as absent. What is not UTF-8, and
 * lone surrogates, become U+FFFD. Entity references of resources are not kept.
 *
 * A value of the wrong type inside a span (an id that is not hexadecimal, a kind by name, a time below 0, values nested
 * too deep) costs that span alone: it comes out such that `scanTraces` flags it SPAN_MALFORMED. The same holds for
 * a resource or scope and its spans. A repeated key comes out as a repeated field, with the same effect.
 *
 * @throws {OtlpError} INVALID_JSON with the path when the text is not JSON, is larger than `maxBytes`, or the structure
 *   around the spans is wrong; TOO_DEEP when it nests deeper than `maxDepth`.
 */
export function jsonToProtobuf(json: Uint8Array, limits: JsonLimits = {}): Uint8Array {
  const maxBytes = limits.maxBytes ?? DEFAULT_MAX_BYTES;
  if (json.length > maxBytes) {
    throw new OtlpError("INVALID_JSON", `JSON of ${json.length} bytes: maxBytes is ${maxBytes}`, 0);
  }
  const reader = new JsonReader(json, limits.maxDepth ?? DEFAULT_MAX_DEPTH, KNOWN_KEYS);
  if (reader.kind() !== "object") reader.fail("expected an object");
  const transcoder = new Transcoder(reader, new ByteWriter(Math.max(1024, json.length >>> 1)));
  const bytes = transcoder.run();
  reader.finish();
  return bytes;
}

class Transcoder {
  readonly #reader: JsonReader;
  readonly #writer: ByteWriter;
  /** Open ArrayValue and KeyValueList messages. */
  #nesting = 0;

  constructor(reader: JsonReader, writer: ByteWriter) {
    this.#reader = reader;
    this.#writer = writer;
  }

  run(): Uint8Array {
    this.#members(REQUEST);
    return this.#writer.finish();
  }

  #members(message: JsonMessage): void {
    const { path } = this.#reader;
    this.#reader.object((key) => {
      const field = message.fields.get(key);
      if (field === undefined) {
        this.#reader.skip();
      } else {
        path.push(key);
        this.#field(message, field);
        path.pop();
      }
    });
  }

  #field(message: JsonMessage, field: JsonField): void {
    const kind = this.#reader.kind();
    if (kind === "null") {
      this.#reader.literal("null");
    } else if (field.type === "message") {
      this.#message(field.tag, field.of);
    } else if (field.type !== "list") {
      if (!this.#scalar(field.type, field.tag)) this.#wrong(message, `expected ${EXPECTED[field.type]}`);
    } else if (kind === "array") {
      this.#list(field.tag, field.of);
    } else {
      if (!message.outer) this.#reader.skip();
      this.#wrong(message, "expected an array");
    }
  }

  #list(tag: number, of: JsonMessage): void {
    const { path } = this.#reader;
    this.#reader.array((index) => {
      path.push(index);
      this.#message(tag, of);
      path.pop();
    });
  }

  #message(tag: number, of: JsonMessage): void {
    const isObject = this.#reader.kind() === "object";
    if (!isObject && of.outer) this.#reader.fail("expected an object");
    const writer = this.#writer;
    writer.byte(tag);
    const mark = writer.open();
    if (of.nests) this.#nesting++;
    if (isObject && this.#nesting <= MAX_VALUE_DEPTH) {
      this.#members(of);
    } else {
      this.#reader.skip();
      writer.byte(BROKEN);
    }
    if (of.nests) this.#nesting--;
    writer.close(mark);
  }

  #wrong(message: JsonMessage, problem: string): void {
    if (message.outer) this.#reader.fail(problem);
    this.#writer.byte(BROKEN);
  }

  /** Reads and writes one value; false when it has the wrong type or range. It is read in any case. */
  #scalar(type: keyof typeof EXPECTED, tag: number): boolean {
    const reader = this.#reader;
    const writer = this.#writer;
    const kind = reader.kind();
    if (type === "string") {
      if (kind !== "string") return this.#refuse();
      writer.byte(tag);
      reader.stringTo(writer);
      return true;
    }
    if (type === "bool") {
      if (kind !== "true" && kind !== "false") return this.#refuse();
      reader.literal(kind);
      writer.byte(tag);
      writer.byte(kind === "true" ? 1 : 0);
      return true;
    }
    if (type === "enum" ? kind !== "number" : kind !== "number" && kind !== "string") return this.#refuse();
    const value = kind === "number" ? reader.number() : reader.string();
    if (type === "hex") return kind === "string" && writeHex(writer, tag, value);
    if (type === "base64") return kind === "string" && writeBase64(writer, tag, value);
    if (type === "double") return writeDouble(writer, tag, value);
    return writeInteger(writer, tag, type, value);
  }

  #refuse(): false {
    this.#reader.skip();
    return false;
  }
}

const EXPECTED = {
  string: "a string",
  bool: "true or false",
  hex: "hexadecimal digits",
  base64: "base64",
  double: "a number",
  int64: "a 64-bit integer",
  enum: "an integer",
  uint32: "an integer from 0 to 4294967295",
  fixed32: "an integer from 0 to 4294967295",
  fixed64: "an integer from 0 to 18446744073709551615",
} as const;

function writeHex(writer: ByteWriter, tag: number, digits: string): boolean {
  if (digits.length % 2 !== 0) return false;
  const id = new Uint8Array(digits.length / 2);
  for (let i = 0; i < id.length; i++) {
    const high = hexDigit(digits.charCodeAt(i * 2));
    const low = hexDigit(digits.charCodeAt(i * 2 + 1));
    if (high < 0 || low < 0) return false;
    id[i] = (high << 4) | low;
  }
  writer.byte(tag);
  writer.varint(id.length);
  writer.raw(id);
  return true;
}

function writeBase64(writer: ByteWriter, tag: number, value: string): boolean {
  const bytes = fromBase64(value);
  if (bytes === undefined) return false;
  writer.byte(tag);
  writer.varint(bytes.length);
  writer.raw(bytes);
  return true;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function writeDouble(writer: ByteWriter, tag: number, value: string): boolean {
  const named = value === "NaN" || value === "Infinity" || value === "-Infinity";
  const number = Number(value);
  // A number too large for a double would silently become infinite.
  if (!named && (!NUMBER.test(value) || !Number.isFinite(number))) return false;
  writer.byte(tag);
  writer.double(number);
  return true;
}

const RANGES = {
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  enum: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  fixed32: [0n, 2n ** 32n - 1n],
  fixed64: [0n, 2n ** 64n - 1n],
} as const;

/** In every range, and most of what is no time. */
const SMALL_INTEGER = /^(?:0|[1-9]\d{0,8})$/;

function writeInteger(writer: ByteWriter, tag: number, type: keyof typeof RANGES, value: string): boolean {
  if ((type === "int64" || type === "enum" || type === "uint32") && SMALL_INTEGER.test(value)) {
    writer.varint(tag);
    writer.varint(Number(value));
    return true;
  }
  const integer = parseInteger(value);
  const [least, most] = RANGES[type];
  if (integer === undefined || integer < least || integer > most) return false;
  writer.varint(tag);
  if (type === "fixed64") writer.fixed64(integer);
  else if (type === "fixed32") writer.fixed32(Number(integer));
  else writer.varint64(integer);
  return true;
}

/** A decimal integer; also one written as `1e3` or `1.0`, as ProtoJSON allows. */
function parseInteger(value: string): bigint | undefined {
  // 20 digits hold every 64-bit integer; BigInt takes quadratic time on longer ones.
  if (/^-?(?:0|[1-9]\d{0,19})$/.test(value)) return BigInt(value);
  if (!NUMBER.test(value)) return undefined;
  const number = Number(value);
  return Number.isInteger(number) && Math.abs(number) < 2 ** 64 ? BigInt(number) : undefined;
}
