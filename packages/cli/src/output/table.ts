import { cutText, padText, printable, textWidth } from "./text.ts";

/** Room between columns. */
const GAP = "  ";
/** A column is not cut below this width, or below its title. */
const MIN_WIDTH = 12;

export interface Column {
  readonly title: string;
  /** May be cut to make a row fit the terminal; other columns keep their width. */
  readonly shrink?: boolean;
  /** Left out when no row has anything in it. */
  readonly optional?: boolean;
}

/**
 * The lines of a table of plain text, the titles first. Cells are made {@link printable}.
 *
 * @param width columns of the terminal; undefined: nothing is cut
 */
export function tableLines(columns: readonly Column[], rows: readonly (readonly string[])[], width?: number): string[] {
  const shown = columns.map((column, i) => !column.optional || rows.some((row) => row[i] !== ""));
  const kept = columns.filter((_, i) => shown[i]);
  const cells = rows.map((row) => row.filter((_, i) => shown[i]).map(printable));
  const widths = kept.map(({ title }, i) =>
    cells.reduce((max, row) => Math.max(max, textWidth(row[i]!)), title.length),
  );
  if (width !== undefined) shrink(kept, widths, width);
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => padText(cutText(cell, widths[i]!), widths[i]!))
      .join(GAP)
      .trimEnd();
  return [line(kept.map((column) => column.title)), ...cells.map(line)];
}

/** Takes from the widest column that may be cut until the row fits, or nothing more can be taken. */
function shrink(columns: readonly Column[], widths: number[], width: number): void {
  let excess = widths.reduce((sum, w) => sum + w, 0) + GAP.length * (widths.length - 1) - width;
  while (excess > 0) {
    let widest = -1;
    for (const [i, column] of columns.entries()) {
      if (!column.shrink || widths[i]! <= Math.max(column.title.length, MIN_WIDTH)) continue;
      if (widest < 0 || widths[i]! > widths[widest]!) widest = i;
    }
    if (widest < 0) return;
    widths[widest]!--;
    excess--;
  }
}
