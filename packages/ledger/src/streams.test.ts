import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { SPAN_AUDIT, encodeSpan, frameSpans, scanTraces } from "@otel-audit/otlp";
import { afterEach, describe, expect, test } from "vitest";
import { tempDir } from "../../../test/support/index.ts";
import { LedgerDirectory } from "./directory.ts";
import { type FileIo, nodeFileIo } from "./io.ts";
import { Ledger } from "./ledger.ts";
import { decodeRow } from "./row-decode.ts";
import { readSegment } from "./segment-rows.ts";
import type { AppendResult, ClosedSegment, LedgerOptions } from "./types.ts";
import { type RecordWindow, Seen } from "./window.ts";

const FACTS = { provenance: "asserted", principal: "p", tenantId: "" } as const;
const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close().catch(() => undefined);
});

async function openDirectory(
  options: Partial<LedgerOptions> = {},
): Promise<{ dir: string; directory: LedgerDirectory }> {
  const dir = tempDir("streams");
  const directory = await LedgerDirectory.open({ dir, windowKeys: 100_000, ...options });
  closing.push(() => directory.close());
  return { dir, directory };
}

async function join(
  { dir, directory }: { dir: string; directory: LedgerDirectory },
  writer: number,
  options: Partial<LedgerOptions> = {},
): Promise<Ledger> {
  const ledger = await Ledger.join(
    { dir, maxSegmentAgeMs: 60_000, onAlarm: () => undefined, ...options },
    directory.share,
    writer,
  );
  closing.push(() => ledger.close());
  return ledger;
}

function append(ledger: Ledger, ids: readonly string[], note = ""): Promise<AppendResult> {
  const bodies = ids.map((id) =>
    encodeSpan({
      traceId: "0af7651916cd43dd8448eb211c80319c",
      spanId: "b7ad6b7169203331",
      name: "n",
      startTimeUnixNano: 1n,
      endTimeUnixNano: 2n,
      attributes: { "audit.action": "READ", "audit.record.id": id, note },
    }),
  );
  return ledger.append(scanTraces(frameSpans({}, { name: "" }, bodies)), SPAN_AUDIT, FACTS);
}

async function idsOf(segments: readonly ClosedSegment[]): Promise<string[]> {
  const ids: string[] = [];
  for (const { path, streamId, firstSequence } of segments) {
    const { rows, offsets, segment } = await readSegment(path);
    for (let i = 0; i < segment.count; i++) {
      const { row } = decodeRow(rows, offsets[i]!);
      expect(row).toMatchObject({ Sequence: firstSequence + BigInt(i), StreamId: streamId });
      ids.push(String(row["RecordId"]));
    }
  }
  return ids;
}

/** A disk that confirms nothing until it is told to, or refuses. */
function heldIo(): { io: FileIo; reached: Promise<void>; open(): void; fail(): void } {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  gate.promise.catch(() => undefined);
  return {
    io: {
      ...nodeFileIo,
      datasync: async (fd) => {
        reached.resolve();
        await gate.promise;
        await nodeFileIo.datasync(fd);
      },
    },
    reached: reached.promise,
    open: () => gate.resolve(),
    fail: () => gate.reject(new Error("the disk is broken")),
  };
}

/** What a promise is now: settled in these turns, or waiting. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => void setImmediate(resolve));
  return Promise.race([
    promise.then(
      () => "done",
      () => "failed",
    ),
    Promise.resolve("waits"),
  ]);
}

describe("streams of one directory", () => {
  test("a duplicate waits until the other stream has synced the first copy", async () => {
    const shared = await openDirectory();
    const disk = heldIo();
    const first = await join(shared, 0, { io: disk.io });
    const second = await join(shared, 1);
    const original = append(first, ["a", "b"]);
    await disk.reached;
    const copy = append(second, ["b", "c"]);
    expect(await stateOf(copy)).toBe("waits");
    disk.open();
    expect(await original).toMatchObject({ accepted: 2 });
    expect(await copy).toMatchObject({ accepted: 1, duplicates: 1 });
    // Synced by now: nothing to wait for.
    expect(await append(second, ["a", "b", "c"])).toMatchObject({ accepted: 0, duplicates: 3 });
    await Promise.all([first.rotate(), second.rotate()]);
    expect((await idsOf([...first.closedSegments(), ...second.closedSegments()])).toSorted()).toEqual(["a", "b", "c"]);
  });

  test("a duplicate is refused when the other stream could not sync the first copy; its retry is stored", async () => {
    const shared = await openDirectory();
    const disk = heldIo();
    const first = await join(shared, 0, { io: disk.io });
    const second = await join(shared, 1);
    const original = append(first, ["a"]);
    await disk.reached;
    const copy = append(second, ["a", "b"]);
    expect(await stateOf(copy)).toBe("waits");
    disk.fail();
    await expect(original).rejects.toMatchObject({ code: "IO", retryable: true });
    await expect(copy).rejects.toMatchObject({ code: "IO", retryable: true });
    expect(await append(second, ["a", "b"])).toMatchObject({ accepted: 1, duplicates: 1 });
    await second.rotate();
    expect((await idsOf(second.closedSegments())).toSorted()).toEqual(["a", "b"]);
  });

  test("a conflict with a record of another stream is stored and marked, its retry is a duplicate", async () => {
    const shared = await openDirectory();
    const first = await join(shared, 0);
    const second = await join(shared, 1);
    await append(first, ["a"], "one");
    expect(await append(second, ["a"], "other")).toMatchObject({ accepted: 1, conflicts: 1 });
    expect(await append(first, ["a"], "other")).toMatchObject({ accepted: 0, duplicates: 1 });
  });

  test("what the log may hold is counted over all streams, and so is what waits for the disk", async () => {
    const shared = await openDirectory();
    const bounds = { maxLogBytes: 600, maxPendingBytes: 300 };
    const disk = heldIo();
    const first = await join(shared, 0, { ...bounds, io: disk.io });
    const second = await join(shared, 1, bounds);
    const waiting = append(first, ["a"]);
    await disk.reached;
    await expect(append(second, ["b"])).rejects.toMatchObject({ code: "OVERLOADED" });
    disk.open();
    await waiting;
    await append(second, ["b"]);
    await expect(append(second, ["c"])).rejects.toMatchObject({ code: "LOG_FULL" });
    await first.rotate();
    for (const segment of first.closedSegments()) await first.removeSegment(segment);
    expect(await append(second, ["c"])).toMatchObject({ accepted: 1 });
  });

  test("a refused append leaves nothing that another stream would take for a first copy", async () => {
    const shared = await openDirectory();
    const first = await join(shared, 0, { maxLogBytes: 1 });
    const second = await join(shared, 1);
    await expect(append(first, ["a"])).rejects.toMatchObject({ code: "LOG_FULL" });
    expect(await append(second, ["a"])).toMatchObject({ accepted: 1 });
  });

  test("what an earlier process left belongs to stream 0", async () => {
    const shared = await openDirectory();
    const before = await join(shared, 1);
    await append(before, ["a"]);
    await before.close();
    await shared.directory.close();
    closing.length = 0;
    const directory = await LedgerDirectory.open({ dir: shared.dir, windowKeys: 10 });
    closing.push(() => directory.close());
    const again = { dir: shared.dir, directory };
    const other = await join(again, 1);
    const first = await join(again, 0);
    expect(other.closedSegments()).toEqual([]);
    expect(await idsOf(first.closedSegments())).toEqual(["a"]);
    expect(await append(other, ["a"])).toMatchObject({ duplicates: 1 });
    await expect(Ledger.open({ dir: shared.dir })).rejects.toMatchObject({ code: "LOCKED" });
  });

  test("a directory that cannot be made is an error at once", async () => {
    await expect(Ledger.open({ dir: "/proc/x/data" })).rejects.toMatchObject({ code: "IO" });
  });

  test.each([-1, 64, 0.5])("refuses writer %d", async (writer) => {
    const { dir, directory } = await openDirectory();
    await expect((async () => Ledger.join({ dir }, directory.share, writer))()).rejects.toThrow(`writer is ${writer}`);
  });
});

const MODULES = ["ledger.ts", "io.ts", "window.ts", "../../otlp/dist/index.js"].map(
  (file) => new URL(file, import.meta.url).href,
);

/** A thread with a stream; \`work\` is its code, with what is imported and told here. */
function startThread(work: string, data: Record<string, unknown>): Worker {
  const code = `
    import { parentPort, workerData } from "node:worker_threads";
    import { Ledger } from "${MODULES[0]}";
    import { nodeFileIo } from "${MODULES[1]}";
    import { RecordWindow, Seen } from "${MODULES[2]}";
    import { encodeSpan, frameSpans, scanTraces, SPAN_AUDIT } from "${MODULES[3]}";
    const facts = { provenance: "asserted", principal: "p", tenantId: "" };
    const append = (ledger, ids) => ledger.append(scanTraces(frameSpans({}, { name: "" }, ids.map((id) => encodeSpan({
      traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", name: "n",
      startTimeUnixNano: 1n, endTimeUnixNano: 2n, attributes: { "audit.action": "READ", "audit.record.id": id },
    })))), SPAN_AUDIT, facts);
    ${work}
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: data });
  closing.push(async () => void (await worker.terminate()));
  return worker;
}

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- names the message at the call
async function said<T>(worker: Worker): Promise<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the code of the thread is in this file
  return (await once(worker, "message"))[0] as T;
}

/** Appends overlapping records, in several lanes, on a disk that fails now and then; sends again what was refused. */
const HAMMER = `
  const { dir, share, writer, records } = workerData;
  let syncs = 0, closing = false;
  const io = { ...nodeFileIo, datasync: async (fd) => {
    if (!closing && ++syncs % 40 < 2) throw new Error("the disk is broken");
    await nodeFileIo.datasync(fd);
  } };
  const ledger = await Ledger.join({ dir, io, maxSegmentRows: 500, maxSegmentAgeMs: 60000, onAlarm: () => {} }, share, writer);
  let accepted = 0, duplicates = 0, refused = 0, next = 0;
  async function lane() {
    while (next < records) {
      const from = next;
      next += 5;
      // Some overlap within the thread, all with the other thread.
      const ids = Array.from({ length: 7 }, (_, i) => "r" + Math.min(from + i, records - 1));
      for (;;) {
        try {
          const result = await append(ledger, ids);
          accepted += result.accepted;
          duplicates += result.duplicates;
          break;
        } catch (error) {
          if (!error.retryable) throw error;
          refused++;
        }
      }
    }
  }
  // Waiting for memory alone does not keep a thread.
  const keep = setInterval(() => {}, 1000);
  await Promise.all(Array.from({ length: 16 }, lane));
  clearInterval(keep);
  closing = true;
  await ledger.close();
  parentPort.postMessage({ accepted, duplicates, refused, segments: ledger.closedSegments() });
`;

interface Hammered {
  readonly accepted: number;
  readonly duplicates: number;
  readonly refused: number;
  readonly segments: readonly ClosedSegment[];
}

describe("two threads", () => {
  test("hammering the same records on failing disks: each is stored exactly once", async () => {
    const { dir, directory } = await openDirectory();
    const records = 20_000;
    const threads = [0, 1].map((writer) => startThread(HAMMER, { dir, share: directory.share, writer, records }));
    const results = await Promise.all(threads.map((thread) => said<Hammered>(thread)));
    const ids = await idsOf(results.flatMap(({ segments }) => segments));
    expect(new Set(ids).size).toBe(records);
    expect(ids.length).toBe(records);
    for (const { duplicates, refused } of results) {
      expect(duplicates).toBeGreaterThan(0);
      expect(refused).toBeGreaterThan(0);
    }
  });

  test("an acknowledgement waits for the sync of the other thread, and is woken by it", async () => {
    const { dir, directory } = await openDirectory();
    const gate = new SharedArrayBuffer(4);
    const data = { dir, share: directory.share, gate };
    const holder = startThread(
      `const gate = new Int32Array(workerData.gate);
       const io = { ...nodeFileIo, datasync: async (fd) => {
         parentPort.postMessage("syncing");
         await Atomics.waitAsync(gate, 0, 0).value;
         await nodeFileIo.datasync(fd);
       } };
       const ledger = await Ledger.join({ dir: workerData.dir, io, maxSegmentAgeMs: 60000 }, workerData.share, 0);
       const keep = setInterval(() => {}, 1000);
       await append(ledger, ["a"]);
       clearInterval(keep);`,
      data,
    );
    await said(holder);
    const waiter = startThread(
      `const ledger = await Ledger.join({ dir: workerData.dir, maxSegmentAgeMs: 60000 }, workerData.share, 1);
       const copy = append(ledger, ["a"]).then((result) => parentPort.postMessage(result));
       await append(ledger, ["b"]);
       parentPort.postMessage("other");
       parentPort.on("message", () => {});
       await copy;`,
      data,
    );
    // Its own record is on disk; the duplicate is not acknowledged.
    expect(await said(waiter)).toBe("other");
    const answer = said(waiter);
    expect(await stateOf(answer)).toBe("waits");
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    expect(await answer).toMatchObject({ accepted: 0, duplicates: 1 });
  });
});

/** Looks up random keys, takes some insertions back, and counts by key: how often new, how often taken back. */
const SEARCH = `
  const { memory, writer, rounds, keys, forgets } = workerData;
  const window = new RecordWindow(memory, writer);
  const learned = new Int32Array(keys);
  const places = [];
  const content = new Uint8Array(8);
  let random = writer * 7919 + 17;
  for (let round = 0; round < rounds; round++) {
    const ids = [];
    for (let i = 0; i < 1 + round % 9; i++) {
      random = Math.imul(random, 1103515245) + 12345 >>> 0;
      ids.push((random >>> 8) % keys);
      const id = Buffer.from("k" + ids.at(-1));
      window.stage(content, id, 0, id.length, content, 0);
    }
    const first = window.commit();
    let at = first;
    const mine = ids.filter((_, i) => window.seen[i] === Seen.New);
    for (const key of mine) { learned[key]++; places.push([key, at++]); }
    if (at !== first + window.learned) throw new Error("insertions are not in one piece");
    if (forgets && round % 5 === 0) {
      window.forget(first, at);
      for (const key of mine) learned[key]--;
    }
    window.settle(Infinity);
  }
  parentPort.postMessage({ learned, places });
`;

interface Searched {
  /** By key: how often it was new, less how often it was taken back. */
  readonly learned: Int32Array;
  /** Key and insertion number. */
  readonly places: readonly (readonly [number, number])[];
}

async function search(
  windowKeys: number,
  keys: number,
  forgets: boolean,
): Promise<{ window: RecordWindow; results: Searched[] }> {
  const { window } = (await openDirectory({ windowKeys })).directory;
  const threads = [0, 1, 2].map((writer) =>
    startThread(SEARCH, { memory: window.memory, writer, rounds: 20_000, keys, forgets }),
  );
  return { window, results: await Promise.all(threads.map((thread) => said<Searched>(thread))) };
}

function lookUp(window: RecordWindow, key: number): number {
  const id = Buffer.from(`k${key}`);
  window.stage(new Uint8Array(8), id, 0, id.length, new Uint8Array(8), 0);
  window.commit({ stored: true });
  return window.seen[0]!;
}

describe("the window under three threads", () => {
  test("a key that is held was new once more than it was taken back; all others as often", async () => {
    const keys = 5_000;
    const { window, results } = await search(20_000, keys, true);
    let held = 0;
    for (let key = 0; key < keys; key++) {
      const isHeld = lookUp(window, key) === Seen.Duplicate ? 1 : 0;
      held += isHeld;
      expect(results.reduce((sum, { learned }) => sum + learned[key]!, 0)).toBe(isHeld);
    }
    expect(held).toBeGreaterThan(keys / 2);
  });

  test("forgets the oldest and only the oldest, whoever inserted it", async () => {
    const windowKeys = 3_000;
    const { window, results } = await search(windowKeys, 50_000, false);
    const places = results.flatMap((result) => result.places);
    const { inserted, size } = window;
    expect(size).toBe(windowKeys);
    expect(places.length).toBe(inserted);
    expect(new Set(places.map(([, place]) => place)).size).toBe(inserted);
    for (const [key, place] of places.filter(([, at]) => at >= inserted - windowKeys)) {
      expect([lookUp(window, key), window.hits[0]]).toEqual([Seen.Duplicate, place]);
    }
  });
});
