// Resident memory at half of the load that the collector can take, for `--minutes` (30), and then with the database away for
// `--away` minutes (2). The first tenth of the time warms it up; flat means that the last third of the rest is within 10% of
// the first. The window of record keys, a fixed piece of memory, is small here, so that it is full from the beginning.
import { parseArgs } from "node:util";
import { Setting, spansPerSecond } from "./collector/setting.ts";
import { startOurs } from "./collector/subject.ts";
import { residentBytes } from "./collector/usage.ts";

const { values: options } = parseArgs({
  options: { minutes: { type: "string", default: "30" }, away: { type: "string", default: "2" } },
});
const CAPACITY_SECONDS = 5;
/** A sample at the end of each; a whole number of them makes the time that was asked for. */
const SAMPLE_SECONDS = 10;
/** Record keys. */
const WINDOW = 200_000;
const MIB = 1024 * 1024;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

async function sample(minutes: number, what: string, rate: number): Promise<number[]> {
  const samples: number[] = [];
  let refused = 0;
  for (let left = Math.max(3, Math.round((minutes * 60) / SAMPLE_SECONDS)); left > 0; left--) {
    refused += (await setting.paced(subject, rate, SAMPLE_SECONDS)).refused;
    samples.push(residentBytes(subject.pid) / MIB);
  }
  const shown = samples.filter((_, at) => at % Math.ceil(samples.length / 15) === 0).map((size) => size.toFixed(0));
  process.stdout.write(
    `${what}: ${shown.join(" ")} MiB; at most ${Math.max(...samples).toFixed(0)}${refused > 0 ? `; ${refused} requests refused` : ""}\n`,
  );
  return samples;
}

const setting = await Setting.start();
const subject = await startOurs({ ...setting.env, WINDOW: String(WINDOW) });
const rate = (await setting.capacity(subject, CAPACITY_SECONDS)) / 2;
process.stdout.write(`${spansPerSecond(rate)}, 20% audit, plain HTTP; ${options.minutes} minutes\n`);
const samples = await sample(Number(options.minutes), "resident", rate);
const warm = samples.slice(Math.ceil(samples.length / 10));
const third = Math.ceil(warm.length / 3);
const change = mean(warm.slice(-third)) / mean(warm.slice(0, third)) - 1;
process.stdout.write(`last third against the first, warmed up: ${(100 * change).toFixed(1)}%\n`);
setting.database.away = true;
await sample(Number(options.away), "resident, database away", rate);
setting.database.away = false;
await sample(0.5, "resident, database back", rate);
await subject.stop();
await setting.stop();
