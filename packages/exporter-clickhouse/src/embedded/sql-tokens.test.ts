import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { splitInsert } from "./insert-statement.ts";
import { stringLiteral, tokenize } from "./sql-tokens.ts";

describe("tokenize", () => {
  it("reads names, quotes of three kinds, numbers and symbols", () => {
    const tokens = tokenize("SELECT `a``b`, \"c\\\"d\", 'e\\'f''g', 1.5e3, x.y(2) -- end");
    expect(tokens?.map(({ kind, text }) => `${kind}:${text}`)).toEqual([
      "name:SELECT",
      "quoted:a`b",
      "symbol:,",
      'quoted:c"d',
      "symbol:,",
      "string:e'f'g",
      "symbol:,",
      "number:1.5e3",
      "symbol:,",
      "name:x",
      "symbol:.",
      "name:y",
      "symbol:(",
      "number:2",
      "symbol:)",
    ]);
  });

  it("does not take what stands in a string or comment for a name", () => {
    const tokens = tokenize("SELECT 'x -- file(' /* file( */, 1 -- file(\n, 2");
    expect(tokens?.some(({ kind, text }) => kind === "name" && text === "file")).toBe(false);
  });

  it("says when a quote does not end", () => {
    expect(tokenize("SELECT 'a")).toBeUndefined();
  });

  it("reads any text to its end without throwing, in order", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        let end = 0;
        for (const token of tokenize(text) ?? []) {
          expect(token.start).toBeGreaterThanOrEqual(end);
          expect(token.end).toBeGreaterThan(token.start);
          end = token.end;
        }
        expect(end).toBeLessThanOrEqual(text.length);
      }),
    );
  });

  it("reads a literal back as the text it was made from", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(tokenize(stringLiteral(text))).toMatchObject([{ kind: "string", text }]);
      }),
    );
  });
});

describe("splitInsert", () => {
  it("finds the data behind FORMAT or VALUES, whatever it looks like", () => {
    const data = fc.string({ unit: "binary-ascii" });
    const heads = fc.constantFrom(
      "INSERT INTO t FORMAT Native",
      "insert into `a'b`.t (x, y) settings async_insert=0 format JSONEachRow",
      "/* c */ INSERT INTO t (`FORMAT`) FORMAT TSV",
    );
    fc.assert(
      fc.property(heads, data, (head, data) => {
        const split = splitInsert(`${head}\n${data}`);
        expect(split).toEqual({ statement: head, dataStart: head.length + 1 });
      }),
    );
    expect(splitInsert("INSERT INTO t VALUES (1), ('FORMAT x')")).toEqual({
      statement: "INSERT INTO t VALUES",
      dataStart: 20,
    });
  });

  it("leaves other statements alone", () => {
    for (const text of ["SELECT 1 FORMAT JSON", "INSERT INTO t SELECT 1", "", "--", "INSERT", "'"]) {
      expect(splitInsert(text)).toBeUndefined();
    }
  });
});
