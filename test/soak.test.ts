// Short versions of `npm run soak:kill` and `npm run soak:burst`.
import { expect, it } from "vitest";
import { burstProblems, soakBurst } from "./soak/burst.ts";
import { soakKill } from "./soak/kill.ts";

it("10 kills: what was seen has a record", async () => {
  const { seen, recorded, problems } = await soakKill(10);
  expect(problems).toEqual([]);
  expect(seen).toBeGreaterThan(100);
  expect(recorded["success"]).toBeGreaterThan(100);
});

it("5,000 actions of 50 agents at once: none lost, none doubled, none misattributed", async () => {
  const soak = await soakBurst(5000);
  expect(burstProblems(soak)).toEqual([]);
});
