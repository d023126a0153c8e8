// Streams and the window they share, in threads of their own.
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { closeLater } from "./testing/open-ledger.ts";
import { idsOf } from "./testing/stored-rows.ts";
import { openDirectory, stateOf } from "./testing/streams.ts";
import type { ClosedSegment } from "./types.ts";
import { type RecordWindow, Seen } from "./window.ts";

const MODULES = ["ledger.ts", "io.ts", "window.ts", "testing/records.ts"].map(
  (file) => new URL(file, import.meta.url).href,
);

/** A thread with a stream; `work` is its code, with what is imported and told here. */
function startThread(work: string, data: Record<string, unknown>): Worker {
  const code = `
    import { parentPort, workerData } from "node:worker_threads";
    import { Ledger } from "${MODULES[0]}";
    import { nodeFileIo } from "${MODULES[1]}";
    import { RecordWindow, Seen } from "${MODULES[2]}";
    import { append } from "${MODULES[3]}";
    ${work}
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), { workerData: data });
  closeLater(() => worker.terminate());
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
      // Some overlap within the thread, all but one with the other thread: of that one it has to sync the row itself.
      const ids = ["own" + writer + "-" + from, ...Array.from({ length: 7 }, (_, i) => "r" + Math.min(from + i, records - 1))];
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
    const sent = records + threads.length * (records / 5);
    expect(new Set(ids).size).toBe(sent);
    expect(ids.length).toBe(sent);
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
  window.commit("log");
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
