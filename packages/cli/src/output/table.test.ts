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

  it("cuts an important column last", () => {
    const columns = [
      { title: "A", shrink: true },
      { title: "B", shrink: true, important: true },
    ];
    const texts = ["a".repeat(20), "b".repeat(40)];
    expect(tableLines(columns, [texts], 55)[1]).toMatch(/^a+…a+ {2}b{40}$/);
    expect(tableLines(columns, [texts], 40)[1]).toMatch(/^aaa…aaaaaa {2}b+…b+$/);
  });

  it("leaves columns out before it cuts an important one, and never without a width", () => {
    const columns = [
      { title: "A", drop: 2 },
      { title: "B", drop: 1 },
      { title: "C", shrink: true, important: true },
    ];
    const texts = ["aaaaa", "bbbbb", "c".repeat(20)];
    const at = (width?: number): string | undefined => tableLines(columns, [texts], width)[1];
    expect(at()).toBe(texts.join("  "));
    expect(at(34)).toBe(texts.join("  "));
    expect(at(33)).toBe(`aaaaa  ${texts[2]}`);
    expect(at(26)).toBe(texts[2]);
    expect(at(15)).toBe("cccc…cccccccccc");
  });

  it("does not make columns unreadable for a very narrow terminal", () => {
    const [, row] = tableLines(COLUMNS, [["support-agent", "x", "postgresql://db.internal/app/public.orders"]], 5);
    expect(row).toMatch(/orders$/);
  });
});
