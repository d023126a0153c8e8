import { describe, expect, it } from "vitest";
import { tableLines } from "./table.ts";
import { textWidth } from "./text.ts";

const COLUMNS = [
  { title: "WHO", shrink: true },
  { title: "WHY", optional: true },
  { title: "WHAT", shrink: true },
];

describe("tableLines", () => {
  it("lines up columns, wide characters too, without blanks at the end", () => {
    expect(
      tableLines(COLUMNS, [
        ["a", "x", "one"],
        ["日本", "", "two"],
      ]),
    ).toEqual(["WHO   WHY  WHAT", "a     x    one", "日本       two"]);
  });

  it("leaves out an optional column that is empty", () => {
    expect(tableLines(COLUMNS, [["a", "", "one"]])).toEqual(["WHO  WHAT", "a    one"]);
  });

  it("has titles alone without rows", () => {
    expect(tableLines(COLUMNS, [])).toEqual(["WHO  WHAT"]);
  });

  it("keeps a hostile cell in its line and column", () => {
    const lines = tableLines(COLUMNS, [["a\nb\x1b[2K\r", "x", "one"]]);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toBe(String.raw`a\x0ab\x1b[2K\x0d  x    one`);
  });

  it("cuts the widest columns to the terminal's width, in the middle", () => {
    const lines = tableLines(COLUMNS, [["support-agent", "x", "postgresql://db.internal/app/public.orders"]], 40);
    expect(lines.map(textWidth).every((width) => width <= 40)).toBe(true);
    expect(lines[1]).toMatch(/^support-agent {2}x {4}post.*….*orders$/);
  });

  it("does not make columns unreadable for a very narrow terminal", () => {
    const [, row] = tableLines(COLUMNS, [["support-agent", "x", "postgresql://db.internal/app/public.orders"]], 5);
    expect(row).toMatch(/orders$/);
  });
});
