import { cutText, padText, printable, textWidth } from "./text.ts";

/** Room between columns. */
const GAP = "  ";
/** A column is not cut below this width, or below its title. */
const MIN_WIDTH = 10;

export interface Column {
  readonly title: string;
  /** May be cut to make a row fit the terminal; other columns keep their width. */
  readonly shrink?: boolean;
  /** Is cut only when nothing else helps. */
  readonly important?: boolean;
  /** Left out when no row has anything in it. */
  readonly optional?: boolean;
  /** Left out of a terminal that is too narrow, the lowest number first, before an important column is cut. */
  readonly drop?: number;
}

/** A column with the cells of all rows, and how wide it is shown. */
interface Filled {
  readonly column: Column;
  readonly cells: readonly string[];
  width: number;
}

/**
 * The lines of a table of plain text, the titles first. Cells are made {@link printable}.
 *
 * @param width columns of the terminal; undefined: nothing is cut or left out
 */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[], width?: number): string[] {
  const filled = columns
    .map((column, i) =>
      fill(
        column,
        rows.map((row) => printable(row[i] ?? "")),
      ),
    )
    .filter(({ column, cells }) => !column.optional || cells.some((cell) => cell !== ""));
  const shown = width === undefined ? filled : fit(filled, width);
  return [
    line(shown.map(({ column, width }) => [column.title, width])),
    ...rows.map((_, row) => line(shown.map(({ cells, width }) => [cells[row]!, width]))),
  ];
}

function fill(column: Column, cells: readonly string[]): Filled {
  const width = cells.reduce((max, cell) => Math.max(max, textWidth(cell)), column.title.length);
  return { column, cells, width };
}

function line(cells: readonly (readonly [text: string, width: number])[]): string {
  const padded = cells.map(([text, width]) => padText(cutText(text, width), width));
  return padded.join(GAP).trimEnd();
}

/** Makes a row fit: cuts what matters less, then leaves columns out, then cuts what is important. */
function fit(all: readonly Filled[], width: number): readonly Filled[] {
  const droppable = all
    .filter(({ column }) => column.drop !== undefined)
    .toSorted((a, b) => a.column.drop! - b.column.drop!);
  for (let dropped = 0; ; dropped++) {
    const gone = new Set(droppable.slice(0, dropped));
    const kept = all.filter((filled) => !gone.has(filled)).map((filled) => ({ ...filled }));
    const excess = shrink(kept, rowWidth(kept) - width, false);
    if (excess <= 0) return kept;
    if (dropped < droppable.length) continue;
    shrink(kept, excess, true);
    return kept;
  }
}

function rowWidth(columns: readonly Filled[]): number {
  return columns.reduce((sum, { width }) => sum + width, 0) + GAP.length * (columns.length - 1);
}

/** Takes from the widest columns that may be cut. Returns how much is still too much. */
function shrink(columns: readonly Filled[], excess: number, isImportant: boolean): number {
  for (let left = excess; ; left--) {
    const [widest] = columns
      .filter(({ column, width }) => {
        const may = column.shrink === true && (column.important ?? false) === isImportant;
        return may && width > Math.max(column.title.length, MIN_WIDTH);
      })
      .toSorted((a, b) => b.width - a.width);
    if (left <= 0 || widest === undefined) return left;
    widest.width--;
  }
}
