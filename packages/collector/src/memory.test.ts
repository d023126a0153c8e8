import { describe, expect, it } from "vitest";
import { MemoryPool } from "./memory.ts";

const KIB = 1024;

describe("MemoryPool", () => {
  it("gives memory out again when its last holder has released it, and not before", () => {
    const pool = new MemoryPool();
    const first = pool.take(300 * KIB);
    first.retain();
    first.release();
    expect(pool.take(300 * KIB).buffer).not.toBe(first.buffer);
    first.release();
    expect(pool.take(299 * KIB).buffer).toBe(first.buffer);
    expect(pool.keptBytes).toBe(0);
  });

  it("never gives out again what was discarded, whoever releases it last", () => {
    const pool = new MemoryPool();
    const memory = pool.take(300 * KIB);
    memory.retain();
    memory.discard();
    memory.release();
    expect(pool.keptBytes).toBe(0);
  });

  it("notices a release too many", () => {
    const memory = new MemoryPool().take(300 * KIB);
    memory.release();
    expect(() => memory.release()).toThrow(RangeError);
    expect(() => memory.retain()).toThrow(RangeError);
  });

  it("keeps no more than its bound, and neither small nor huge buffers", () => {
    const pool = new MemoryPool();
    const many = Array.from({ length: 100 }, () => pool.take(1024 * KIB));
    for (const memory of many) memory.release();
    expect(pool.keptBytes).toBe(32 * 1024 * KIB);
    const other = new MemoryPool();
    other.take(100).release();
    other.take(64 * 1024 * KIB).release();
    expect(other.keptBytes).toBe(0);
  });

  it("does not spend a large buffer on a small body", () => {
    const pool = new MemoryPool();
    pool.take(1024 * KIB).release();
    expect(pool.take(100 * KIB).buffer.length).toBeLessThan(200 * KIB);
  });
});
