import { ClickHouseError } from "../errors.ts";
import { ByteSink, text, varint } from "./byte-sink.ts";
import { ArrayColumn, FixedColumn, LowCardinalityColumn, StringColumn } from "./columns.ts";
import type { Column } from "./columns.ts";
import { type Source, sourceOf } from "./source.ts";
import { SteadyColumns, isSteady } from "./steady-columns.ts";
import { type ColumnType, type Layout, layoutOf } from "./types.ts";

/** What takes the values of a tile: a column, or several at once. */
type Unit = Pick<Column, "appendTile">;

/** Rows of a tile: about 40 KB of audit rows, which stay in the second-level cache while all columns pass over them. */
const TILE = 64;

/**
 * Turns RowBinary rows into one block of ClickHouse's Native format, which the engine takes in for a sixth of the cost:
 * whole columns, with the dictionaries of LowCardinality ready made. Its memory stays for the next rows: what is asked for
 * anew each time costs page faults, and makes V8 collect all of its heap every few segments.
 */
export class NativeTransposer {
  readonly #columns: readonly ColumnType[];
  readonly #builders: readonly Column[];
  /** For the next block. */
  #spare: ArrayBuffer | undefined;
  /** Length of the last block. */
  #length = 0;

  /**
   * @param columns the columns of a row in order. Types: numbers, dates, UUID, IPv4 and IPv6, String, FixedString(n),
   *   LowCardinality(String), and Array and Map of them, nested at will.
   * @throws ClickHouseError `SCHEMA` for another type.
   */
  constructor(columns: readonly ColumnType[]) {
    this.#columns = columns;
    this.#builders = columns.map((column) => createColumn(layoutOf(column)));
  }

  /**
   * @param rows rows one behind the other.
   * @param offsets start of every row and, as the last entry, the end of the last one (count + 1 entries).
   * @returns the block, in a buffer of its own (transferable).
   * @throws ClickHouseError `BAD_ROWS` when a row does not end where the next one starts.
   */
  transpose(rows: Uint8Array, offsets: Uint32Array): Uint8Array<ArrayBuffer> {
    const count = Math.max(offsets.length - 1, 0);
    for (const builder of this.#builders) builder.clear();
    this.#append(sourceOf(rows), offsets, count);
    const out = new ByteSink(this.#spare ?? this.#length + (this.#length >> 4));
    this.#spare = undefined;
    out.append(varint(this.#columns.length));
    out.append(varint(count));
    for (const [i, builder] of this.#builders.entries()) {
      const { name, type } = this.#columns[i]!;
      out.append(text(name));
      out.append(text(type));
      if (count === 0) continue;
      builder.writePrefix(out);
      builder.writeData(out);
    }
    this.#length = out.length;
    return out.written();
  }

  /** Takes the memory of a block back that nobody looks at any more. */
  reuse({ buffer }: Uint8Array<ArrayBuffer>): void {
    if (buffer.byteLength > (this.#spare?.byteLength ?? 0)) this.#spare = buffer;
  }

  #append(source: Source, offsets: Uint32Array, count: number): void {
    const cursors = new Uint32Array(TILE);
    let units: readonly Unit[] = this.#builders;
    for (let first = 0; first < count; first += TILE) {
      const size = Math.min(TILE, count - first);
      cursors.set(offsets.subarray(first, first + size));
      if (first === 0 && count > TILE) units = appendFirstTile(source, cursors, this.#builders);
      else for (const unit of units) unit.appendTile(source, cursors, size);
      checkEnds(cursors, offsets, first, size);
    }
    for (const unit of units) if (unit instanceof SteadyColumns) unit.flush();
  }
}

/** The same, once. */
export function transposeToNative(
  rows: Uint8Array,
  offsets: Uint32Array,
  columns: readonly ColumnType[],
): Uint8Array<ArrayBuffer> {
  return new NativeTransposer(columns).transpose(rows, offsets);
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
    const row = first + i;
    if (cursors[i] === offsets[row + 1]) continue;
    throw new ClickHouseError(
      "BAD_ROWS",
      `RowBinary: row ${row} ends at byte ${cursors[i]}, the next one starts at ${offsets[row + 1]}`,
    );
  }
}

function createColumn(layout: Layout): Column {
  if (layout.kind === "fixed") return new FixedColumn(layout.width);
  if (layout.kind === "string") return new StringColumn();
  if (layout.kind === "lowCardinality") return new LowCardinalityColumn();
  if (layout.kind === "array") return new ArrayColumn(createColumn(layout.element));
  return new ArrayColumn(createColumn(layout.key), createColumn(layout.value));
}
