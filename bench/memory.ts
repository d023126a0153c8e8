// Resident memory at half of the load that the collector can take, for `--minutes` (30), then with the database away for
// `--away` minutes (2), and with it back for one. 20% audit, plain HTTP. The first tenth of the time warms it up; flat means
// that the last third of the rest is within 10% of the first. The window of record keys, a fixed piece of memory, is small
// here, so that it is full from the beginning. `--peer` measures the official collector afterwards, which takes as long again.
import { parseArgs } from "node:util";
import { helpOf } from "../test/support/index.ts";
import { within, type Tell } from "./collector/bounded.ts";
import { Setting, spansPerSecond } from "./collector/setting.ts";
import { findPeer, startOurs, type Environment, type Subject } from "./collector/subject.ts";
import { residentBytes } from "./collector/usage.ts";

helpOf(import.meta.filename);
const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    away: { type: "string", default: "2" },
    peer: { type: "boolean", default: false },
  },
});
const MINUTES = Number(options.minutes);
const AWAY_MINUTES = Number(options.away);
const BACK_MINUTES = 1;
const CAPACITY_SECONDS = 10;
/** A sample at the end of each; a whole number of them makes the time that was asked for. */
const SAMPLE_SECONDS = 10;
/** Record keys. */
const WINDOW = 200_000;
const MIB = 1024 * 1024;
/** So many samples are shown. */
const SHOWN = 15;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

class Measurement {
  readonly #setting: Setting;
  readonly #subject: Subject;
  readonly #tell: Tell;
  #rate = 0;

  constructor(setting: Setting, subject: Subject, tell: Tell) {
    this.#setting = setting;
    this.#subject = subject;
    this.#tell = tell;
  }

  async run(): Promise<void> {
    const { database } = this.#setting;
    await this.#setting.flood(this.#subject, CAPACITY_SECONDS);
    this.#rate = (await this.#setting.flood(this.#subject, CAPACITY_SECONDS)).perSecond / 2;
    process.stdout.write(`${this.#subject.name}: ${spansPerSecond(this.#rate)}, ${MINUTES} min\n`);
    const warm = (await this.#samples(MINUTES, "resident")).slice(Math.ceil((MINUTES * 6) / 10));
    const third = Math.ceil(warm.length / 3);
    const change = 100 * (mean(warm.slice(-third)) / mean(warm.slice(0, third)) - 1);
    process.stdout.write(`last third against the first, warmed up: ${change.toFixed(1)}%\n`);
    database.away = true;
    await this.#samples(AWAY_MINUTES, "resident, database away");
    database.away = false;
    await this.#samples(BACK_MINUTES, "resident, database back");
  }

  /** MiB. */
  async #samples(minutes: number, what: string): Promise<number[]> {
    const samples: number[] = [];
    const count = Math.max(3, Math.round((minutes * 60) / SAMPLE_SECONDS));
    let [refused, unanswered] = [0, 0];
    while (samples.length < count) {
      const outcome = await this.#setting.paced(this.#subject, this.#rate, SAMPLE_SECONDS);
      refused += outcome.refused;
      unanswered += outcome.unanswered;
      samples.push(residentBytes(this.#subject.pid) / MIB);
      const done = `${samples.length} of ${count}`;
      this.#tell(`${this.#subject.name} ${what}: ${samples.at(-1)!.toFixed(0)} MiB (${done})`);
    }
    const shown = samples.filter((_, at) => at % Math.ceil(count / SHOWN) === 0).map((size) => size.toFixed(0));
    const lost = refused + unanswered === 0 ? "" : `; ${refused} requests REFUSED, ${unanswered} UNANSWERED`;
    process.stdout.write(`${what}: ${shown.join(" ")} MiB; at most ${Math.max(...samples).toFixed(0)}${lost}\n`);
    return samples;
  }
}

async function measure(start: (env: Environment) => Promise<Subject>, setting: Setting, tell: Tell): Promise<void> {
  const subject = await start({ ...setting.env, WINDOW: String(WINDOW) });
  try {
    await new Measurement(setting, subject, tell).run();
  } finally {
    setting.database.away = false;
    await subject.stop();
  }
}

async function run(tell: Tell): Promise<void> {
  const setting = await Setting.start();
  await measure(startOurs, setting, tell);
  if (options.peer) {
    const peer = findPeer();
    process.stdout.write(`peer: ${peer.description}\n`);
    await measure((env) => peer.start(env), setting, tell);
  }
  await setting.stop();
}

// An overloaded collector has ten seconds more for each sample, on which it is no longer at half of its load.
const LIMIT_MINUTES = 3 + 2 * (Math.max(MINUTES, 0.5) + Math.max(AWAY_MINUTES, 0.5) + BACK_MINUTES);
await within(import.meta.filename, 60 * LIMIT_MINUTES * (options.peer ? 2 : 1), run);
