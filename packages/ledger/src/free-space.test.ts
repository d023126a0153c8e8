// A log that leaves a reserve on its disk: a small file system where this process may mount one, else what one would tell.
import * as fs from "node:fs";
import * as path from "node:path";
import { SPAN_AUDIT, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { expect, test } from "vitest";
import { mountSmallDisk, tempDir } from "../../../test/support/index.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";

const MIB = 1024 * 1024;
const SIZE = 4 * MIB;

interface Disk {
  readonly dir: string;
  readonly io: FileIo;
  readonly resize: (bytes: number) => void;
  readonly remove: () => void;
}

function disk(): Disk {
  const mounted = mountSmallDisk(String(SIZE));
  if (mounted) {
    const { dir, resize, remove } = mounted;
    return { dir: path.join(dir, "data"), io: nodeFileIo, resize: (bytes) => resize(String(bytes)), remove };
  }
  const dir = tempDir("disk");
  let total = SIZE;
  const used = (): number =>
    fs
      .readdirSync(dir, { recursive: true, withFileTypes: true })
      .reduce((sum, entry) => sum + fs.statSync(path.join(entry.parentPath, entry.name)).size, 0);
  const space: FileIo["space"] = async () => ({ free: total - used(), total });
  return { dir, io: { ...nodeFileIo, space }, resize: (bytes) => (total = bytes), remove: () => undefined };
}

async function append(ledger: Ledger, id: string): Promise<string> {
  const attributes = { "audit.action": "READ", "audit.record.id": id, note: "x".repeat(50_000) };
  const ids = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
  const body = encodeSpan({ ...ids, name: "n", startTimeUnixNano: 1n, endTimeUnixNano: 2n, attributes });
  try {
    await ledger.append(scanTraces(frameSpans({}, { name: "" }, [body])), SPAN_AUDIT, {
      provenance: "asserted",
      principal: "",
      tenantId: "",
    });
    return "accepted";
  } catch (error) {
    return String(error);
  }
}

/** Appends until it is refused. */
async function fill(ledger: Ledger, prefix: string): Promise<{ accepted: number; refusal: string }> {
  for (let accepted = 0; ; accepted++) {
    const answer = await append(ledger, `${prefix}${accepted}`);
    if (answer !== "accepted") return { accepted, refusal: answer };
  }
}

test("refuses while a reserve is left, can still close and remove, and goes on afterwards", async () => {
  const small = disk();
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
    await expect.poll(() => told, { timeout: 5_000 }).toEqual([expect.stringContaining("1048576 (minFreeBytes)")]);
    expect((await small.io.space(small.dir)).free).toBeGreaterThan(MIB / 2);
    await ledger.rotate();
    expect(ledger.closedSegments().reduce((sum, { count }) => sum + count, 0)).toBe(accepted);
    for (const segment of ledger.closedSegments()) await ledger.removeSegment(segment);
    await expect.poll(() => told, { timeout: 5_000 }).toEqual([expect.any(String), undefined]);
    expect(await append(ledger, "z")).toBe("accepted");
    await ledger.close();
  } finally {
    small.remove();
  }
}, 20_000);

test("the reserve is a twentieth of a small disk when nothing is configured, and 0 is none", async () => {
  const small = disk();
  try {
    const options = { dir: small.dir, io: small.io, windowKeys: 1_000, maxSegmentAgeMs: 60_000 };
    const ledger = await Ledger.open(options);
    const { refusal } = await fill(ledger, "a");
    expect(refusal).toContain(`; ${Math.floor(SIZE / 20)} (minFreeBytes)`);
    await ledger.close();
    // As full as before, and nothing is kept free.
    const without = await Ledger.open({ ...options, minFreeBytes: 0 });
    expect(await append(without, "z")).toBe("accepted");
    await without.close();
  } finally {
    small.remove();
  }
}, 20_000);

const untold: FileIo["space"] = async () => Promise.reject(new Error("ENOSYS"));

test("a file system that does not tell is not full", async () => {
  const options = { windowKeys: 10, minFreeBytes: MIB };
  const ledger = await Ledger.open({ ...options, dir: tempDir("untold"), io: { ...nodeFileIo, space: untold } });
  expect(await append(ledger, "a")).toBe("accepted");
  await ledger.close();
});
