import { expect, it } from "vitest";
import { Turns } from "./turns.ts";

it("lets the event loop go round between two pieces of work", async () => {
  let rounds = 0;
  const count = (): void => {
    rounds++;
    timer = setImmediate(count);
  };
  let timer = setImmediate(count);
  const turns = new Turns();
  const seen: number[] = [];
  const work = async (): Promise<void> => {
    await turns.next();
    seen.push(rounds);
  };
  await Promise.all([work(), work(), work()]);
  await work();
  clearImmediate(timer);
  expect(seen.map((round, i) => i === 0 || round > seen[i - 1]!)).toEqual([true, true, true, true]);
});
