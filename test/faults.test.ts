// A bit of every fault that this machine allows (`npm run faults` is the long run): nothing that was acknowledged is lost,
// nothing is in the table twice, nothing is there that was not sent.
import { expect, it } from "vitest";
import { ALL_FAULTS, isProducerFault } from "./faults/nemesis.ts";
import { runFaults } from "./faults/run.ts";

// As long as it takes for every fault to be done once: 25 s, more on a busy machine.
const SHORT = { seconds: 120, rounds: 1, pauseMs: 200, workers: 1, rate: 1_000, tell: () => undefined } as const;

it.each([
  ["external", ALL_FAULTS],
  ["embedded", ["kill-both", "pause-engine", "disk-full", "duplicates", "rebatch"]],
] as const)(
  "faults of every kind, %s engine",
  async (engine, faults) => {
    const seed = Math.floor(Math.random() * 1e6);
    const { problems, counts, possible, table, kept } = await runFaults({ ...SHORT, seed, engine, faults });
    expect(problems, `${table}\nkept in ${kept}`).toEqual([]);
    expect(possible.filter((fault) => isProducerFault(fault) || counts.has(fault))).toEqual(possible);
  },
  300_000,
);
