import { exception } from "./exception.ts";

/** From this protocol revision on, each column says whether it is serialized in a way of its own. */
const REVISION_WITH_SERIALIZATION_FLAG = 54_454;

/** BlockInfo of an ordinary block: field 1 (is overflows) 0, field 2 (bucket) -1, end. */
const BLOCK_INFO = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);
const NO_SERIALIZATION = Buffer.from([0]);

/**
 * Native blocks as a client of a newer protocol revision expects them (`client_protocol_version`, which clickhouse-go and
 * with it Grafana's plug-in send): chDB writes revision 0 only.
 *
 * @param revision the client's revision. Up to 0 the bytes are right as they are.
 * @throws ClickHouseError for a column type whose length cannot be known without decoding it.
 */
export function frameNative(bytes: Uint8Array, revision: number): Uint8Array {
  if (!(revision > 0)) return bytes;
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new NativeReader(source);
  const parts: Uint8Array[] = [];
  while (reader.at < source.length) {
    const start = reader.at;
    const columns = reader.varint();
    const rows = reader.varint();
    parts.push(BLOCK_INFO, source.subarray(start, reader.at));
    for (let column = 0; column < columns; column++) {
      const header = reader.at;
      reader.string();
      const type = reader.string();
      parts.push(source.subarray(header, reader.at));
      if (revision >= REVISION_WITH_SERIALIZATION_FLAG) parts.push(NO_SERIALIZATION);
      const data = reader.at;
      if (rows > 0) reader.skipColumn(parseType(type), rows);
      parts.push(source.subarray(data, reader.at));
    }
  }
  return Buffer.concat(parts);
}

interface ColumnType {
  readonly name: string;
  readonly parameters: readonly string[];
}

/** Bytes of a value, by type. */
const SIZES: ReadonlyMap<string, number> = new Map([
  ...["Int8", "UInt8", "Bool", "Enum8", "Nothing"].map((name): [string, number] => [name, 1]),
  ...["Int16", "UInt16", "Date", "Enum16", "BFloat16"].map((name): [string, number] => [name, 2]),
  ...["Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"].map((name): [string, number] => [
    name,
    4,
  ]),
  ...["Int64", "UInt64", "Float64", "DateTime64", "Decimal64", "Time64"].map((name): [string, number] => [name, 8]),
  ...["Int128", "UInt128", "UUID", "IPv6", "Decimal128"].map((name): [string, number] => [name, 16]),
  ...["Int256", "UInt256", "Decimal256"].map((name): [string, number] => [name, 32]),
]);

class NativeReader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 64; shift += 7) {
      const byte = this.#bytes.readUInt8(this.#advance(1));
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw exception("UNKNOWN_EXCEPTION", "Native: a length that does not end");
  }

  string(): string {
    const length = this.varint();
    const start = this.#advance(length);
    return this.#bytes.toString("utf8", start, this.at);
  }

  /** A column is the prefixes of its parts, then their data. Only LowCardinality has a prefix here. */
  skipColumn(type: ColumnType, rows: number): void {
    this.#advance(8 * countLowCardinality(type));
    this.#skipData(type, rows);
  }

  #skipData(type: ColumnType, rows: number): void {
    const inner = type.parameters.map((parameter) => parseType(parameter));
    const [first] = inner;
    if (type.name === "String") {
      for (let row = 0; row < rows; row++) this.#advance(this.varint());
    } else if (type.name === "LowCardinality" && first !== undefined) {
      this.#skipLowCardinality(first, rows);
    } else if (type.name === "Nullable" && first !== undefined) {
      this.#advance(rows);
      this.#skipData(first, rows);
    } else if (type.name === "Array" && first !== undefined) {
      this.#skipData(first, this.#arrayLength(rows));
    } else if (type.name === "Map") {
      const length = this.#arrayLength(rows);
      for (const part of inner) this.#skipData(part, length);
    } else if (type.name === "Tuple") {
      if (inner.length === 0) this.#advance(rows);
      for (const part of inner) this.#skipData(part, rows);
    } else {
      this.#advance(rows * fixedSize(type));
    }
  }

  #arrayLength(rows: number): number {
    if (rows === 0) return 0;
    const start = this.#advance(8 * rows);
    return Number(this.#bytes.readBigUInt64LE(start + 8 * (rows - 1)));
  }

  #skipLowCardinality(type: ColumnType, rows: number): void {
    if (rows === 0) return;
    const flags = this.#bytes.readBigUInt64LE(this.#advance(8));
    const keys = Number(this.#bytes.readBigUInt64LE(this.#advance(8)));
    this.#skipData(type.name === "Nullable" ? parseType(type.parameters[0] ?? "") : type, keys);
    const indexes = Number(this.#bytes.readBigUInt64LE(this.#advance(8)));
    this.#advance(indexes * 2 ** Number(flags & 0xffn));
  }

  /** Steps over so many bytes and says where they began. */
  #advance(length: number): number {
    const start = this.at;
    if (length > this.#bytes.length - start) throw exception("UNKNOWN_EXCEPTION", "Native: a block that is cut off");
    this.at = start + length;
    return start;
  }
}

function countLowCardinality(type: ColumnType): number {
  if (type.name === "LowCardinality") return 1;
  if (!["Nullable", "Array", "Map", "Tuple"].includes(type.name)) return 0;
  return type.parameters.reduce((sum, parameter) => sum + countLowCardinality(parseType(parameter)), 0);
}

function fixedSize(type: ColumnType): number {
  if (type.name === "FixedString") return Number(type.parameters[0]);
  if (type.name === "Decimal") {
    const digits = Number(type.parameters[0]);
    return digits <= 9 ? 4 : digits <= 18 ? 8 : digits <= 38 ? 16 : 32;
  }
  const size = type.name.startsWith("Interval") ? 8 : SIZES.get(type.name);
  if (size === undefined) {
    throw exception(
      "NOT_IMPLEMENTED",
      `a column of type ${type.name} cannot be sent as Native of client_protocol_version; cast it, or use another format`,
    );
  }
  return size;
}

/** `Array(Tuple(a String, b UInt8))` as a name and the texts of its parameters. */
function parseType(text: string): ColumnType {
  const open = text.indexOf("(");
  if (open < 0) return { name: text.trim(), parameters: [] };
  const name = text.slice(0, open).trim();
  const parameters = splitParameters(text.slice(open + 1, text.lastIndexOf(")")));
  if (name === "SimpleAggregateFunction") return parseType(parameters.at(-1) ?? "");
  if (name === "Point") return { name: "Tuple", parameters: ["Float64", "Float64"] };
  return { name, parameters: name === "Tuple" ? parameters.map(withoutName) : parameters };
}

/** An element of a named tuple: `a String`, `` `a b` String``. */
function withoutName(element: string): string {
  const named = /^(?:`(?:[^`\\]|\\.)*`|[A-Za-z_]\w*)\s+(?=[A-Z])/.exec(element);
  return named === null ? element : element.slice(named[0].length);
}

function splitParameters(text: string): string[] {
  const parameters: string[] = [];
  let depth = 0;
  let start = 0;
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (quote !== "") {
      if (char === "\\") at++;
      else if (char === quote) quote = "";
    } else if (char === "'" || char === "`") {
      quote = char;
    } else if (char === "(") {
      depth++;
    } else if (char === ")") {
      depth--;
    } else if (char === "," && depth === 0) {
      parameters.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  const last = text.slice(start).trim();
  return last === "" ? parameters : [...parameters, last];
}
