// A log that leaves a reserve on its disk: a small file system where this process may mount one, else what one would tell.
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";
import { smallDisk } from "./testing/disks.ts";
import { append } from "./testing/records.ts";

const MIB = 1024 * 1024;
const SIZE = 4 * MIB;

async function appendLarge(ledger: Ledger, id: string): Promise<string> {
  try {
    await append(ledger, [id], "x".repeat(50_000));
    return "accepted";
  } catch (error) {
    return String(error);
  }
}

/** Appends until it is refused. */
async function fill(ledger: Ledger, prefix: string): Promise<{ accepted: number; refusal: string }> {
  for (let accepted = 0; ; accepted++) {
    const answer = await appendLarge(ledger, `${prefix}${accepted}`);
    if (answer !== "accepted") return { accepted, refusal: answer };
  }
}

test("refuses while a reserve is left, can still close and remove, and goes on afterwards", async () => {
  const small = smallDisk(SIZE);
  const told: (string | undefined)[] = [];
  try {
    const ledger = await Ledger.open({
      dir: small.dir,
      io: small.io,
      windowKeys: 1_000,
      maxSegmentAgeMs: 60_000,
      minFreeBytes: MIB,
      onLowSpace: (low) => told.push(low),
    });
    const { accepted, refusal } = await fill(ledger, "a");
    // Never by the disk itself.
    expect(refusal).toMatch(/^LedgerError: \d+ bytes are free on the log's disk; 1048576 \(minFreeBytes\) are kept/);
    expect(accepted).toBeGreaterThan(40);
    await expect.poll(() => told).toEqual([expect.stringContaining("1048576 (minFreeBytes)")]);
    expect((await small.io.space(small.dir)).free).toBeGreaterThan(MIB / 2);
    await ledger.rotate();
    expect(ledger.closedSegments().reduce((sum, { count }) => sum + count, 0)).toBe(accepted);
    for (const segment of ledger.closedSegments()) await ledger.removeSegment(segment);
    await expect.poll(() => told).toEqual([expect.any(String), undefined]);
    expect(await appendLarge(ledger, "z")).toBe("accepted");
    await ledger.close();
  } finally {
    small.remove();
  }
});

test("the reserve is a twentieth of a small disk when nothing is configured, and 0 is none", async () => {
  const small = smallDisk(SIZE);
  try {
    const options = { dir: small.dir, io: small.io, windowKeys: 1_000, maxSegmentAgeMs: 60_000 };
    const ledger = await Ledger.open(options);
    const { refusal } = await fill(ledger, "a");
    expect(refusal).toContain(`; ${Math.floor(SIZE / 20)} (minFreeBytes)`);
    await ledger.close();
    // As full as before, and nothing is kept free.
    const without = await Ledger.open({ ...options, minFreeBytes: 0 });
    expect(await appendLarge(without, "z")).toBe("accepted");
    await without.close();
  } finally {
    small.remove();
  }
});

const untold: FileIo["space"] = async () => Promise.reject(new Error("ENOSYS"));

test("a file system that does not tell is not full", async () => {
  const options = { windowKeys: 10, minFreeBytes: MIB };
  const ledger = await Ledger.open({ ...options, dir: tempDir("untold"), io: { ...nodeFileIo, space: untold } });
  expect(await appendLarge(ledger, "a")).toBe("accepted");
  await ledger.close();
});
