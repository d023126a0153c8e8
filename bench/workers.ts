// What a second worker brings to the receive path: spans a second that one collector acknowledges with `service::workers` 1
// and 2, and what they cost. 20% audit, plain HTTP; ClickHouse is away, so that records wait on disk and nothing but the
// receive path works. Load and debug backend need cores too. Where a machine has no cores for them, the figure to look at is
// the first: N workers and all that goes with them on N cores, for which the load is the same burden.
// `--rounds N` (3), `--seconds N` of each figure (8), `--quick` for 1 and 3.
import { parseArgs } from "node:util";
import { helpOf } from "../test/support/index.ts";
import { within, type Tell } from "./collector/bounded.ts";
import { Setting } from "./collector/setting.ts";
import { SPANS } from "./collector/spans.ts";
import { startOurs } from "./collector/subject.ts";
import { allowedCores, cpuByThread, cpuMicros, keepOn } from "./collector/usage.ts";

helpOf(import.meta.filename);
const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, rounds: { type: "string" }, seconds: { type: "string" } },
});
const SECONDS = Number(options.seconds ?? (options.quick ? 3 : 8));
const ROUNDS = Number(options.rounds ?? (options.quick ? 1 : 3));
const WARM_UP_SECONDS = 3;

interface Case {
  readonly workers: number;
  /** That collector, load and backend share. */
  readonly cores: readonly number[];
}

/** Spans a second, and how many cores each part used for them. */
interface Figure {
  readonly rate: number;
  readonly collector: number;
  /** The workers' own threads, of the collector's. */
  readonly threads: number;
  readonly load: number;
}

const WORKER = /^worker-\d+$/;
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** CPU seconds so far. */
function used(pid: number, { pids }: Setting): { collector: number; threads: number; load: number } {
  const byThread = cpuByThread(pid);
  const threads = Object.entries(byThread).filter(([name]) => WORKER.test(name));
  return {
    collector: sum(Object.values(byThread)) / 1e6,
    threads: sum(threads.map(([, micros]) => micros)) / 1e6,
    load: sum(pids.map(cpuMicros)) / 1e6,
  };
}

/** With a database of its own: a collector that starts beside a full table reads the keys of its records first. */
async function measure({ workers, cores }: Case): Promise<Figure> {
  const setting = await Setting.start();
  const subject = await startOurs({ ...setting.env, WORKERS: String(workers) });
  try {
    keepOn(cores, [subject.pid, ...setting.pids]);
    setting.database.away = true;
    await setting.flood(subject, WARM_UP_SECONDS);
    const [before, start] = [used(subject.pid, setting), performance.now()];
    const { acknowledged, unanswered } = await setting.flood(subject, SECONDS);
    const [after, seconds] = [used(subject.pid, setting), (performance.now() - start) / 1_000];
    if (unanswered > 0) throw new Error(`${workers} workers: ${unanswered} requests without an answer`);
    return {
      rate: (acknowledged * SPANS) / seconds,
      collector: (after.collector - before.collector) / seconds,
      threads: (after.threads - before.threads) / seconds,
      load: (after.load - before.load) / seconds,
    };
  } finally {
    setting.database.away = false;
    await subject.stop();
    await setting.stop();
  }
}

const median = (figures: readonly Figure[]): Figure =>
  figures.toSorted((a, b) => a.rate - b.rate)[figures.length >>> 1]!;

function line(name: string, figure: Figure): string {
  const { rate, collector, threads, load } = figure;
  const micros = (cores: number): string => ((cores * 1e6) / rate).toFixed(2).padStart(9);
  const cells = [Math.round(rate).toLocaleString("en").padStart(11), micros(collector), micros(threads), micros(load)];
  return `${name.padEnd(24)}${cells.join("")}${collector.toFixed(2).padStart(12)}${load.toFixed(2).padStart(8)}\n`;
}

const ratio = (a: number, b: number): string => (a / b).toFixed(2);
const cost = ({ collector, rate }: Figure): number => collector / rate;

async function run(tell: Tell): Promise<void> {
  const all = allowedCores();
  const cases: Case[] = [1, 2].map((workers) => ({ workers, cores: all.slice(0, workers) }));
  cases.push({ workers: 1, cores: all });
  if (all.length > 2) cases.push({ workers: 2, cores: all });
  const figures: Figure[][] = cases.map(() => []);
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [at, one] of cases.entries()) {
      tell(`round ${round} of ${ROUNDS}: workers: ${one.workers}, cores: ${one.cores.length}`);
      figures[at]!.push(await measure(one));
    }
  }
  const medians = figures.map(median);
  const [onOne, onTwo, one, two = onTwo] = medians as [Figure, Figure, Figure, Figure?];
  process.stdout.write(
    `${all.length} cores; median of ${ROUNDS}; 20% audit, plain HTTP, ClickHouse away; CPU µs a span, and cores used\n` +
      `${"".padEnd(24)}    spans/s collector  threads     load   collector    load\n`,
  );
  for (const [at, { workers, cores }] of cases.entries()) {
    process.stdout.write(line(`workers: ${workers}, cores: ${cores.length}`, medians[at]!));
  }
  process.stdout.write(
    `scaling, a core for each worker and its load   ${ratio(onTwo.rate, onOne.rate)}\n` +
      `scaling, ${all.length} cores                               ${ratio(two.rate, one.rate)}` +
      `${all.length < 3 ? "  too few for two workers and the load: no figure of the workers" : ""}\n` +
      `CPU a span, 2 workers against 1                ${ratio(cost(two), cost(one))}\n`,
  );
}

// Warming up, figure and start of each of four cases; what is under way at the end has ten seconds.
await within(import.meta.filename, 60 + ROUNDS * 4 * (WARM_UP_SECONDS + SECONDS + 20), run);
