// A little of what nobody should send (`npm run fuzz` is the long run): no crash, no answer that is not typed, no byte of one
// request in what is stored or forwarded of another, and a good client is served while others misbehave.
import { describe, expect, it } from "vitest";
import { ATTACKS, runAttacks } from "./fuzz/attacks.ts";
import { runFuzz } from "./fuzz/run.ts";

const quiet = (): void => undefined;

describe("a collector that is sent what nobody should send", () => {
  it("answers, keeps requests apart and goes on", async () => {
    const seed = Math.floor(Math.random() * 1e6);
    const { problems, table } = await runFuzz({ seed, requests: 2_000, seconds: 60, workers: 2, tell: quiet });
    expect(problems, table).toEqual([]);
  }, 120_000);

  it("acknowledges a good client's requests during attacks", async () => {
    const SHORT = [
      "endless chunked bodies",
      "100,000 attributes",
      "an attribute of 10 MB in a record",
      "kvlists 100000 deep",
      "arrays 100000 deep (JSON)",
      "inflate bomb (gzip)",
      "inflate bomb (gRPC, zstd)",
      "a flood of headers",
      "hostile Host headers at the ports for people",
      "rapid reset",
    ];
    const attacks = ATTACKS.filter(({ name }) => SHORT.includes(name));
    expect(attacks).toHaveLength(SHORT.length);
    expect(await runAttacks({ attacks, workers: 1, tls: true, rounds: 1, restMs: 0, tell: quiet })).toEqual([]);
  }, 120_000);
});
