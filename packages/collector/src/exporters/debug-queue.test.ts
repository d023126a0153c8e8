import { randomInt } from "node:crypto";
import { expect, it } from "vitest";
import { SharedMemory } from "../service/shared-memory.ts";
import { testContext } from "../testing/context.ts";
import { DebugQueue } from "./debug-queue.ts";
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
    async ({ bytes }) => {
      await gate.promise;
      sent.push(bytes.length);
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
        () => gate.promise,
      ),
  );
  const put = (queue: number, bytes: number): void =>
    queues[queue]!.put({
      bytes: new Uint8Array(bytes),
      items: 1,
      memory: undefined,
      contentType: "application/x-protobuf",
    });
  const values = async (name: "queueSize" | "queueCapacity"): Promise<(number | undefined)[]> =>
    Promise.all(contexts.map(async ({ telemetry }) => (await telemetry[name].get()).values[0]?.value));
  // One of each is under way and waits no more.
  for (const queue of [0, 1, 2]) put(queue, 1);
  for (let i = 0; i < 5; i++) put(0, 10);
  for (let i = 0; i < 5; i++) put(1, 10);
  expect(await values("queueSize")).toEqual([5, 1, 0]);
  // By bytes: 60 wait elsewhere.
  put(2, 41);
  expect(await values("queueSize")).toEqual([5, 1, 0]);
  put(0, 60);
  expect(await values("queueSize")).toEqual([4, 1, 0]);
  expect(await values("queueCapacity")).toEqual([6, 6, 6]);
  gate.resolve();
  for (const queue of queues) expect(await queue.drain(10_000)).toBe(true);
  for (const queue of queues) await queue.close();
});
