import { ClickHouseError } from "../errors.ts";
import { text, varint } from "./byte-sink.ts";
import { ArrayColumn, FixedColumn, LowCardinalityColumn, StringColumn } from "./columns.ts";
import type { Column } from "./columns.ts";
import { type Source, sourceOf } from "./source.ts";
import { SteadyColumns, isSteady } from "./steady-columns.ts";

/** A column by its name and ClickHouse type, as in the ledger's `COLUMNS`. */
export interface ColumnType {
  readonly name: string;
  readonly type: string;
}

/** What takes the values of a tile: a column, or several at once. */
type Unit = Pick<Column, "appendTile">;

/** Rows of a tile: about 40 KB of audit rows, which stay in the second-level cache while all columns pass over them. */
const TILE = 64;

const WIDTHS: Readonly<Record<string, number>> = {
  Bool: 1,
  Int8: 1,
  UInt8: 1,
  Int16: 2,
  UInt16: 2,
  Date: 2,
  Int32: 4,
  UInt32: 4,
  Float32: 4,
  DateTime: 4,
  Date32: 4,
  IPv4: 4,
  Int64: 8,
  UInt64: 8,
  Float64: 8,
  DateTime64: 8,
  Int128: 16,
  UInt128: 16,
  UUID: 16,
  IPv6: 16,
};

/**
 * Turns RowBinary rows into one block of ClickHouse's Native format, which the engine takes in for a sixth of the cost:
 * whole columns, with the dictionaries of LowCardinality ready made.
 *
 * @param rows rows one behind the other.
 * @param offsets start of every row and, as the last entry, the end of the last one (count + 1 entries).
 * @param columns the columns of a row in order. Types: numbers, dates, UUID, IPv4 and IPv6, String, FixedString(n),
 *   LowCardinality(String), and Array and Map of them, nested at will.
 * @returns the block, in a buffer of its own (transferable).
 * @throws ClickHouseError `BAD_ROWS` when a row does not end where the next one starts, `SCHEMA` for another type.
 */
export function transposeToNative(
  rows: Uint8Array,
  offsets: Uint32Array,
  columns: readonly ColumnType[],
): Uint8Array<ArrayBuffer> {
  const count = Math.max(offsets.length - 1, 0);
  const source = sourceOf(rows);
  const builders = columns.map(({ name, type }) => createColumn(type, count, name));
  const cursors = new Uint32Array(TILE);
  let units: readonly Unit[] = builders;
  for (let first = 0; first < count; first += TILE) {
    const size = Math.min(TILE, count - first);
    cursors.set(offsets.subarray(first, first + size));
    if (first === 0 && count > TILE) units = appendFirstTile(source, cursors, builders);
    else for (const unit of units) unit.appendTile(source, cursors, size);
    checkEnds(cursors, offsets, first, size);
  }
  for (const unit of units) if (unit instanceof SteadyColumns) unit.flush();
  const parts: Uint8Array[] = [varint(columns.length), varint(count)];
  for (const [i, builder] of builders.entries()) {
    const { name, type } = columns[i]!;
    parts.push(text(name), text(type));
    if (count === 0) continue;
    builder.prefix(parts);
    builder.data(parts);
  }
  return join(parts);
}

/** Takes the first tile, and tells how to take the others: columns that did not change in it together with their neighbours. */
function appendFirstTile(source: Source, cursors: Uint32Array, builders: readonly Column[]): Unit[] {
  const units: Unit[] = [];
  let steady: Column[] = [];
  const close = (): void => {
    if (steady.length === 1) units.push(steady[0]!);
    else if (steady.length > 1) units.push(new SteadyColumns(steady));
    steady = [];
  };
  for (const builder of builders) {
    const starts = cursors.slice();
    builder.appendTile(source, cursors, TILE);
    if (isSteady(source, starts, cursors, TILE)) {
      steady.push(builder);
    } else {
      close();
      units.push(builder);
    }
  }
  close();
  return units;
}

function checkEnds(cursors: Uint32Array, offsets: Uint32Array, first: number, size: number): void {
  for (let i = 0; i < size; i++) {
    if (cursors[i] === offsets[first + i + 1]) continue;
    throw new ClickHouseError(
      "BAD_ROWS",
      `RowBinary: row ${first + i} ends at byte ${cursors[i]}, the next one starts at ${offsets[first + i + 1]}`,
    );
  }
}

function createColumn(type: string, rows: number, name: string): Column {
  const [outer, args] = splitType(type);
  const [first, second] = args;
  if (outer === "String" && args.length === 0) return new StringColumn(rows);
  if (outer === "LowCardinality" && first === "String") return new LowCardinalityColumn(rows);
  if (outer === "Array" && first !== undefined && args.length === 1) {
    return new ArrayColumn(createColumn(first, 0, name), undefined, rows);
  }
  if (outer === "Map" && first !== undefined && second !== undefined) {
    return new ArrayColumn(createColumn(first, rows * 4, name), createColumn(second, rows * 4, name), rows);
  }
  const width = outer === "FixedString" ? Number(first) : WIDTHS[outer];
  if (width !== undefined && Number.isInteger(width) && width > 0) return new FixedColumn(width, rows);
  throw new ClickHouseError("SCHEMA", `column ${name}: type ${type} cannot be written as Native`);
}

/** `Map(LowCardinality(String), String)` to `["Map", ["LowCardinality(String)", "String"]]`. */
function splitType(type: string): [outer: string, args: string[]] {
  const open = type.indexOf("(");
  if (open < 0) return [type, []];
  const args: string[] = [];
  let depth = 0;
  let start = open + 1;
  for (let i = open; i < type.length; i++) {
    const char = type[i];
    if (char === "(") depth++;
    if (char === ")") depth--;
    if ((char === "," && depth === 1) || (char === ")" && depth === 0)) {
      args.push(type.slice(start, i).trim());
      start = i + 1;
    }
  }
  return [type.slice(0, open), args];
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const block = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    block.set(part, at);
    at += part.length;
  }
  return block;
}
