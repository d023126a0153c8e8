import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LedgerError } from "./errors.ts";
import { RecordWindow, Seen } from "./window.ts";

function content(n: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => (n * 31 + i * n) & 0xff);
}

function observe(window: RecordWindow, principal: string, id: string, n: number): number {
  const bytes = Buffer.from(id);
  window.stage(Buffer.from(principal), bytes, 0, bytes.length, content(n), 0);
  window.commit();
  return window.seen[0]!;
}

describe("RecordWindow", () => {
  test("new, duplicate, conflict, and the conflict's retry", () => {
    const window = new RecordWindow(10);
    expect(observe(window, "p", "id", 1)).toBe(Seen.New);
    expect(observe(window, "p", "id", 1)).toBe(Seen.Duplicate);
    expect(window.hits[0]).toBe(0);
    expect(observe(window, "p", "id", 2)).toBe(Seen.Conflict);
    expect(observe(window, "p", "id", 2)).toBe(Seen.Duplicate);
    expect(window.hits[0]).toBe(1);
    expect(observe(window, "p", "id", 1)).toBe(Seen.Duplicate);
    expect(window.size).toBe(2);
  });

  test("the principal is part of the key, and its border too", () => {
    const window = new RecordWindow(10);
    expect(observe(window, "a", "bc", 1)).toBe(Seen.New);
    expect(observe(window, "ab", "c", 1)).toBe(Seen.New);
    expect(observe(window, "", "abc", 1)).toBe(Seen.New);
  });

  test("remembers what the table has, as text or bytes", () => {
    const window = new RecordWindow(10);
    window.remember("p", "id-ä", content(1));
    window.remember(Buffer.from("p"), Buffer.from("id-2"), content(2).subarray(0, 8));
    expect(observe(window, "p", "id-ä", 1)).toBe(Seen.Duplicate);
    expect(observe(window, "p", "id-2", 2)).toBe(Seen.Duplicate);
    expect(() => window.remember("p", "id", new Uint8Array(7))).toThrow(LedgerError);
  });

  test.each([0, -1, 1.5, 100_000_001])("refuses a size of %d", (keys) => {
    expect(() => new RecordWindow(keys)).toThrow(`windowKeys is ${keys}`);
  });

  test("long ids and ids of every length", () => {
    const window = new RecordWindow(5000);
    for (let length = 0; length < 2100; length += 7) expect(observe(window, "p", "x".repeat(length), 1)).toBe(Seen.New);
    for (let length = 0; length < 2100; length += 7) {
      expect(observe(window, "p", "x".repeat(length), 1)).toBe(Seen.Duplicate);
    }
  });

  test("grows to its cap and then forgets the oldest, against a model", () => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.tuple(fc.constant("add"), fc.nat(60)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("forget"), fc.nat(5)) },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(step, { maxLength: 300 }), (cap, steps) => {
        const window = new RecordWindow(cap);
        // Insertion number to id; every id has one content here.
        const model = new Map<number, number>();
        let inserted = 0;
        for (const [what, n] of steps) {
          if (what === "forget") {
            window.forget(inserted - n, inserted);
            for (let i = inserted - n; i < inserted; i++) model.delete(i);
            continue;
          }
          const known = [...model].find(([, id]) => id === n)?.[0];
          window.hits[0] = -1;
          const seen = observe(window, "p", `id-${n}`, 1);
          expect([seen, window.hits[0]]).toEqual(known === undefined ? [Seen.New, -1] : [Seen.Duplicate, known]);
          if (known !== undefined) continue;
          model.delete(inserted - cap);
          model.set(inserted++, n);
        }
        expect(window.size).toBe(model.size);
        expect(window.inserted).toBe(inserted);
      }),
      { numRuns: 300 },
    );
  });

  test("holds a hundred thousand keys through all its growth", () => {
    const window = new RecordWindow(100_000);
    for (let i = 0; i < 150_000; i++) observe(window, "p", `id-${i}`, 1);
    expect(window.size).toBe(100_000);
    for (let i = 50_000; i < 150_000; i += 97) expect(observe(window, "p", `id-${i}`, 1)).toBe(Seen.Duplicate);
    expect(observe(window, "p", "id-49999", 1)).toBe(Seen.New);
  });
});
