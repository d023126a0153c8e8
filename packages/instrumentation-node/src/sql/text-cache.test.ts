import * as fc from "fast-check";
import { expect, test } from "vitest";

import { TextCache } from "./text-cache.ts";

test("keeps what was used last", () => {
  const cache = new TextCache<number>({ maxEntries: 2, maxTextLength: 10, maxTotalLength: 100 });
  cache.set("a", 1);
  cache.set("b", 2);
  expect(cache.get("a")).toBe(1);
  cache.set("c", 3);
  expect([cache.get("a"), cache.get("b"), cache.get("c")]).toEqual([1, undefined, 3]);
});

test("is never larger than its bounds, and never answers for another text", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ maxLength: 12 })), (texts) => {
      const cache = new TextCache<string>({ maxEntries: 5, maxTextLength: 8, maxTotalLength: 20 });
      for (const text of texts) {
        cache.set(text, text);
        expect([text, undefined]).toContain(cache.get(text));
        expect(cache.size).toBeLessThanOrEqual(5);
        expect(cache.totalLength).toBeLessThanOrEqual(20);
      }
    }),
  );
});
