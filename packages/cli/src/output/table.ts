import { stripVTControlCharacters, styleText } from "node:util";

/** Room between columns. */
const GAP = "  ";

export interface Column {
  readonly title: string;
  /** Columns that may be cut to make a row fit the terminal; others keep their width. */
  readonly shrink?: boolean;
}

/**
 * A table of plain text for a terminal.
 *
 * @param width columns of the terminal; undefined: nothing is cut
 * @param colour the title line is underlined
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  options: { width?: number | undefined; colour?: boolean } = {},
): string {
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  if (options.width !== undefined) shrink(columns, widths, options.width);
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cut(cell, widths[i]!).padEnd(widths[i]!))
      .join(GAP)
      .trimEnd();
  const title = line(columns.map((column) => column.title));
  const head = options.colour ? styleText("bold", title, { validateStream: false }) : title;
  return [head, ...cells.map(line)].join("\n");
}

/** What producers wrote must not move the cursor or change colours of the reader's terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return stripVTControlCharacters(text).replaceAll(/[\u0000-\u001F\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069]/g, "\uFFFD");
}

function shrink(columns: readonly Column[], widths: number[], width: number): void {
  const total = (): number => widths.reduce((sum, w) => sum + w, 0) + GAP.length * (widths.length - 1);
  while (total() > width) {
    let widest = -1;
    for (const [i, column] of columns.entries()) {
      if (column.shrink && widths[i]! > column.title.length + 8 && (widest < 0 || widths[i]! > widths[widest]!)) widest = i;
    }
    if (widest < 0) return;
    widths[widest]!--;
  }
}

/** Cuts in the middle: the end of a path or URL says most. */
function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}
