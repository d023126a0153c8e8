import { randomInt } from "node:crypto";
import { expect, it } from "vitest";
import { testContext } from "../testing/context.ts";
import { DebugQueue } from "./debug-queue.ts";
import { Fifo } from "./fifo.ts";

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
