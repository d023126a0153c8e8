import { expect, test } from "vitest";
import { Memo } from "./memo.ts";

function counting(): { memo: Memo<string>; asked: string[]; get: (key: string) => Promise<string> } {
  const memo = new Memo<string>();
  const asked: string[] = [];
  const get = (key: string): Promise<string> =>
    memo.get(key, async () => {
      asked.push(key);
      return `answer to ${key}`;
    });
  return { memo, asked, get };
}

test("the same question is asked once", async () => {
  const { asked, get } = counting();
  for (const key of ["a", "b", "a", "a", "b"]) expect(await get(key)).toBe(`answer to ${key}`);
  expect(asked).toEqual(["a", "b"]);
});

test("an error is no answer", async () => {
  const { memo, get } = counting();
  await expect(memo.get("a", () => Promise.reject(new Error("busy")))).rejects.toThrow("busy");
  expect(await get("a")).toBe("answer to a");
});

test("what was not asked for longest is forgotten first, and long questions are never kept", async () => {
  const { asked, get } = counting();
  const keys = Array.from({ length: 64 }, (_, i) => `key ${i}`);
  for (const key of keys) await get(key);
  await get("key 0");
  await get("one more");
  asked.length = 0;
  await get("key 0");
  await get("key 1");
  const long = "x".repeat(20_000);
  await get(long);
  await get(long);
  expect(asked).toEqual(["key 1", long, long]);
});
