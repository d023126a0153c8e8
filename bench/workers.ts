// What a second worker brings: spans a second that one collector takes with `service::workers` 1 and 2, and their CPU. The
// load generator and ClickHouse share the machine's cores with it, so that two workers need four of them to show all.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Setting, spansPerSecond } from "./collector/setting.ts";
import { SPANS } from "./collector/spans.ts";
import { startOurs } from "./collector/subject.ts";
import { cpuMicros } from "./collector/usage.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });
const SECONDS = options.quick ? 3 : 15;
const ROUNDS = options.quick ? 1 : 3;

interface Figure {
  /** Requests a second. */
  readonly rate: number;
  /** Cores that the collector used meanwhile, warming up included. */
  readonly cores: number;
}

async function measure(setting: Setting, workers: number): Promise<Figure> {
  const subject = await startOurs({ ...setting.env, WORKERS: String(workers) });
  try {
    const [before, start] = [cpuMicros(subject.pid), performance.now()];
    const rate = await setting.capacity(subject, SECONDS);
    return { rate, cores: (cpuMicros(subject.pid) - before) / 1_000 / (performance.now() - start) };
  } finally {
    await subject.stop();
  }
}

const median = (figures: readonly Figure[]): Figure =>
  figures.toSorted((a, b) => a.rate - b.rate)[figures.length >>> 1]!;

const setting = await Setting.start();
const [one, two]: [Figure[], Figure[]] = [[], []];
for (let round = 0; round < ROUNDS; round++) {
  one.push(await measure(setting, 1));
  two.push(await measure(setting, 2));
}
await setting.stop();
process.stdout.write(`${availableParallelism()} cores for collector, load and ClickHouse; 20% audit, plain HTTP\n`);
for (const [name, { rate, cores }] of [
  ["1 worker", median(one)],
  ["2 workers", median(two)],
] as const) {
  const each = (cores * 1e6) / (rate * SPANS);
  process.stdout.write(
    `${name.padEnd(10)} ${spansPerSecond(rate)}, ${cores.toFixed(2)} cores, ${each.toFixed(2)} µs a span\n`,
  );
}
process.stdout.write(`scaling    ${(median(two).rate / median(one).rate).toFixed(2)}\n`);
