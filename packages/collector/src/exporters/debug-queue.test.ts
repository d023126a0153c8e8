import { randomInt } from "node:crypto";
import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { SharedMemory } from "../service/shared-memory.ts";
import { testContext } from "../testing/context.ts";
import type { Memory } from "../memory.ts";
import { DebugQueue, PermanentError, type Batching, type DebugRequest, type Outgoing } from "./debug-queue.ts";
import { Fifo } from "./fifo.ts";
import { QueueRoom } from "./queue-room.ts";

const RETRY = { initialMs: 1, maxMs: 1, maxElapsedMs: 1_000 };

it("a Fifo gives back what an array would", () => {
  const fifo = new Fifo<number>();
  const model: number[] = [];
  for (let i = 0; i < 4_000; i++) {
    const given: (number | undefined)[] = [];
    if (randomInt(100) < (i < 2_000 ? 60 : 30)) {
      fifo.push(i);
      model.push(i);
    } else {
      given.push(fifo.shift(), model.shift());
    }
    expect(given[0]).toBe(given[1]);
    expect([fifo.length, fifo.peek()]).toEqual([model.length, model[0]]);
  }
});

it("a request that never fits is dropped alone, counted, and what waits stays", async () => {
  const context = testContext("debug");
  const gate = Promise.withResolvers<void>();
  const sent: number[] = [];
  const queue = new DebugQueue(
    { requests: 10, bytes: 100, consumers: 1 },
    new QueueRoom("traces", context),
    RETRY,
    context,
    "traces",
    async ({ parts }) => {
      await gate.promise;
      sent.push(...parts.map(({ length }) => length));
    },
  );
  const put = (bytes: number): void =>
    queue.put({ bytes: new Uint8Array(bytes), items: 1, memory: undefined, contentType: "application/x-protobuf" });
  for (const bytes of [1, 30, 40, 101, 20]) put(bytes);
  const dropped = async (): Promise<number> =>
    (await context.telemetry.enqueueFailed.traces.get()).values.reduce((sum, { value }) => sum + value, 0);
  expect(await dropped()).toBe(1);
  // 30 + 40 + 20 wait; with 60 more the oldest two go.
  put(60);
  expect(await dropped()).toBe(3);
  gate.resolve();
  expect(await queue.drain(10_000)).toBe(true);
  expect(sent).toEqual([1, 20, 60]);
  await queue.close();
});

it("one line says that the destination takes nothing, and one that it does again", async () => {
  const lines: { msg: string; attempts?: number; err?: { message: string } }[] = [];
  const log = pino({}, { write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]) });
  const context = testContext("debug", { log });
  let attempts = 0;
  const queue = new DebugQueue(
    { requests: 10, bytes: 100, consumers: 1 },
    new QueueRoom("traces", context),
    { ...RETRY, maxElapsedMs: Number.POSITIVE_INFINITY },
    context,
    "traces",
    async () => {
      // Each of two requests at its third attempt.
      if (++attempts % 3 !== 0) throw new Error("no such host");
    },
  );
  for (let i = 0; i < 2; i++)
    queue.put({ bytes: new Uint8Array(1), items: 1, memory: undefined, contentType: "application/x-protobuf" });
  expect(await queue.drain(10_000)).toBe(true);
  expect(attempts).toBe(6);
  expect(lines).toEqual([
    expect.objectContaining({
      msg: expect.stringContaining("not taken; they are tried again"),
      attempts: 1,
      err: expect.objectContaining({ message: "no such host" }),
    }),
    expect.objectContaining({ msg: "debug requests are taken again" }),
  ]);
  await queue.close();
});

it("the queues of all workers together hold what is configured", async () => {
  const memory = new SharedMemory();
  const gate = Promise.withResolvers<void>();
  const contexts = [0, 1, 2].map((index) =>
    testContext("debug", { worker: { index, count: 3 }, shared: (name, bytes) => memory.get(name, bytes) }),
  );
  const queues = contexts.map(
    (context) =>
      new DebugQueue(
        { requests: 6, bytes: 100, consumers: 1 },
        new QueueRoom("traces", context),
        RETRY,
        context,
        "traces",
        async () => {
          await gate.promise;
          return undefined;
        },
      ),
  );
  const put = (queue: number, bytes: number): void =>
    queues[queue]!.put({
      bytes: new Uint8Array(bytes),
      items: 1,
      memory: undefined,
      contentType: "application/x-protobuf",
    });
  const values = async (what: "size" | "capacity"): Promise<(number | undefined)[]> =>
    Promise.all(
      contexts.map(async ({ telemetry }) => {
        const metrics = await telemetry.snapshot();
        return metrics.find(({ name }) => name === `otelcol_exporter_queue_${what}`)?.values[0]?.value;
      }),
    );
  // One of each is under way and waits no more.
  for (const queue of [0, 1, 2]) put(queue, 1);
  for (let i = 0; i < 5; i++) put(0, 10);
  for (let i = 0; i < 5; i++) put(1, 10);
  expect(await values("size")).toEqual([5, 1, 0]);
  // By bytes: 60 wait elsewhere.
  put(2, 41);
  expect(await values("size")).toEqual([5, 1, 0]);
  put(0, 60);
  expect(await values("size")).toEqual([4, 1, 0]);
  expect(await values("capacity")).toEqual([6, 6, 6]);
  gate.resolve();
  for (const queue of queues) expect(await queue.drain(10_000)).toBe(true);
  for (const queue of queues) await queue.close();
});

/** A queue and what it has sent; `refuse` tells what the destination never takes. */
function batching(options: Batching, refuse: (outgoing: Outgoing) => boolean = () => false) {
  const context = testContext("debug");
  const sent: string[] = [];
  const queue = new DebugQueue(
    { requests: 100, bytes: 10_000, consumers: 2 },
    new QueueRoom("logs", context),
    RETRY,
    context,
    "logs",
    async (outgoing) => {
      const text = Buffer.concat(outgoing.parts).toString();
      if (refuse(outgoing)) throw new PermanentError(text);
      sent.push(text);
    },
    options,
  );
  const put = (text: string, more: Partial<DebugRequest> = {}): void =>
    queue.put({
      bytes: Buffer.from(text),
      items: 1,
      memory: undefined,
      contentType: "application/x-protobuf",
      ...more,
    });
  return { context, sent, queue, put };
}

describe("batching", () => {
  it("sends what waits as one, when there is enough of it, and a large one alone", async () => {
    const { queue, put, sent } = batching({ maxBytes: 4, lingerMs: 600_000 });
    for (const text of ["a", "bb", "c", "dd", "eeeeee", "f"]) put(text);
    await expect.poll(() => sent).toEqual(["abbc", "dd", "eeeeee"]);
    // Nobody waits for others at the end.
    expect(await queue.drain(10_000)).toBe(true);
    expect(sent).toEqual(["abbc", "dd", "eeeeee", "f"]);
    put("g");
    await queue.close();
    expect(sent.at(-1)).toBe("g");
  });

  it("sends what has waited for long enough", async () => {
    const { put, sent, queue } = batching({ maxBytes: 100, lingerMs: 10 });
    put("a");
    put("b");
    await expect.poll(() => sent).toEqual(["ab"]);
    await queue.close();
  });

  it("puts nothing behind JSON, nor JSON behind anything", async () => {
    const { put, sent, queue } = batching({ maxBytes: 100, lingerMs: 10 });
    const json = { contentType: "application/json" } as const;
    put("a");
    put("{}", json);
    put("[]", json);
    put("b");
    put("c");
    await queue.close();
    expect(sent).toEqual(["a", "{}", "[]", "bc"]);
  });

  it("does not lose the others with what is refused, and gives all memory back", async () => {
    const { context, put, sent, queue } = batching({ maxBytes: 100_000, lingerMs: 10 }, ({ parts }) =>
      parts.some((part) => part[0] === 88),
    );
    const memories: Memory[] = [];
    for (const text of ["a", "X", "b"]) {
      const memory = context.memory.take(20_000);
      memories.push(memory);
      memory.buffer.set(Buffer.from(text));
      put(text, { bytes: memory.buffer.subarray(0, 1), memory });
      memory.release();
    }
    await queue.close();
    expect(sent).toEqual(["a", "b"]);
    const { sent: ok, sendFailed } = context.telemetry;
    expect((await ok.logs.get()).values[0]!.value).toBe(2);
    expect((await sendFailed.logs.get()).values[0]!.value).toBe(1);
    // What was given up is not used again.
    for (const memory of memories) expect(() => memory.release()).toThrow(RangeError);
    expect(context.memory.keptBytes).toBe(memories[0]!.buffer.length + memories[2]!.buffer.length);
  });
});
