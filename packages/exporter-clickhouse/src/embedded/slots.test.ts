import { expect, it } from "vitest";
import { Slots } from "./slots.ts";

const never = new AbortController().signal;

it("lets in so many, the others in their order, and refuses what cannot wait", async () => {
  const slots = new Slots(1, 2);
  const order: string[] = [];
  const release = await slots.acquire(never);
  const enter = async (name: string): Promise<void> => {
    const leave = await slots.acquire(never);
    order.push(name);
    leave();
  };
  const second = enter("second");
  const third = enter("third");
  await expect(slots.acquire(never)).rejects.toMatchObject({ serverCode: 202 });
  release();
  // Giving back twice must not let in two.
  release();
  await Promise.all([second, third]);
  expect(order).toEqual(["second", "third"]);
  await slots.acquire(never);
  const waits = slots.acquire(AbortSignal.abort());
  await expect(waits).rejects.toMatchObject({ serverCode: 394 });
});

it("forgets who leaves while waiting", async () => {
  const slots = new Slots(1, 1);
  const release = await slots.acquire(never);
  const leaving = new AbortController();
  const left = slots.acquire(leaving.signal);
  leaving.abort();
  await expect(left).rejects.toMatchObject({ serverCode: 394 });
  const next = slots.acquire(never);
  release();
  await expect(next).resolves.toBeTypeOf("function");
});
