import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutText, padText, printable, printableLines, safeJson, textWidth } from "./text.ts";

/** Text that a person who wants to deceive would write. */
const hostile = fc.oneof(
  fc.string({ unit: "binary" }),
  fc
    .array(fc.constantFrom("\x1b[2J", "\x9b31m", "\u202e", "\u200b", "\u{e0041}", "\r", "\n", "\0", "é", "日本", "a"))
    .map((parts) => parts.join("")),
);
const DANGEROUS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u;

describe("printable", () => {
  it("spells out what could act on a terminal or deceive its reader, and drops nothing", () => {
    expect(printable("\x1b[31mred\x1b]0;title\x07")).toBe(String.raw`\x1b[31mred\x1b]0;title\x07`);
    expect(printable("a\nb\tc\rd\0")).toBe(String.raw`a\x0ab\x09c\x0dd\x00`);
    expect(printable("\u009b2J")).toBe(String.raw`\x9b2J`);
    expect(printable("user\u202egnp.exe")).toBe(String.raw`user\u{202e}gnp.exe`);
    expect(printable("a\u200bb\ufeff\u{e0041}")).toBe(String.raw`a\u{200b}b\u{feff}\u{e0041}`);
    expect(printable("\ud800")).toBe(String.raw`\u{d800}`);
  });

  it("leaves the scripts of people alone", () => {
    const text = "Größe, Москва, 日本語, עברית, 🙂, e\u0301";
    expect(printable(text)).toBe(text);
  });

  it("is safe for every text, and the same when done twice", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const shown = printable(text);
        expect(shown).not.toMatch(DANGEROUS);
        expect(printable(shown)).toBe(shown);
      }),
    );
  });

  it("keeps the lines of a message, and nothing else", () => {
    expect(printableLines("one\n\ttwo\x1b[0m")).toBe("one\n  two\\x1b[0m");
  });
});

describe("safeJson", () => {
  it("is the same value, safe to show", () => {
    fc.assert(
      fc.property(fc.oneof(hostile, fc.dictionary(hostile, fc.oneof(hostile, fc.array(hostile)))), (value) => {
        for (const indent of [undefined, 2]) {
          const json = safeJson(value, indent);
          expect(json.replaceAll("\n", "")).not.toMatch(DANGEROUS);
          expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)));
        }
      }),
    );
  });
});

describe("width", () => {
  it("counts columns of a terminal", () => {
    expect(textWidth("abc")).toBe(3);
    expect(textWidth("日本語")).toBe(6);
    expect(textWidth("🙂")).toBe(2);
    expect(textWidth("e\u0301")).toBe(1);
    expect(padText("日", 4)).toBe("日  ");
    expect(padText("long", 2)).toBe("long");
  });

  it("cuts in the middle, and keeps the end", () => {
    expect(cutText("file:///srv/work/case-1001.md", 20)).toBe("file:/…/case-1001.md");
    expect(cutText("short", 20)).toBe("short");
    expect(cutText("日本語日本語日本語", 8)).toBe("日…本語");
    expect(cutText("abc", 0)).toBe("");
  });

  it("never exceeds the width", () => {
    fc.assert(
      fc.property(hostile.map(printable), fc.integer({ min: 0, max: 30 }), (text, width) => {
        expect(textWidth(cutText(text, width))).toBeLessThanOrEqual(Math.max(width, 0));
      }),
    );
  });
});
