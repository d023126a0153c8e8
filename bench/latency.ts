// How long an acknowledgement takes, beside the official collector: 20% audit, 512 spans a request, plain HTTP. Both sync
// (fdatasync) to the same file system before they answer. What each can take is measured first, with 16 requests under way
// at any time; then each gets half of its own maximum, by the clock, and ours also the rate that the peer gets, in turns.
// Latency counts from when a request was due. `--rounds N` (3), `--seconds N` of each turn (15), `--quick` for 1 and 5.
import { parseArgs } from "node:util";
import { helpOf } from "../test/support/index.ts";
import { within, type Tell } from "./collector/bounded.ts";
import { Setting, spansPerSecond } from "./collector/setting.ts";
import { findPeer, startOurs, type Environment, type Subject } from "./collector/subject.ts";

helpOf(import.meta.filename);
const { values: options } = parseArgs({
  options: { quick: { type: "boolean", default: false }, rounds: { type: "string" }, seconds: { type: "string" } },
});
const SECONDS = Number(options.seconds ?? (options.quick ? 5 : 15));
const ROUNDS = Number(options.rounds ?? (options.quick ? 1 : 3));
const WARM_UP_SECONDS = options.quick ? 2 : 5;
const CAPACITY_SECONDS = options.quick ? 3 : 10;

type Start = (env: Environment) => Promise<Subject>;

/** Process and database are new each time: nothing waits from what was before, and no keys are read from a full table. */
async function using<T>(start: Start, use: (subject: Subject, setting: Setting) => Promise<T>): Promise<T> {
  const setting = await Setting.start();
  const subject = await start(setting.env);
  try {
    return await use(subject, setting);
  } finally {
    await subject.stop();
    await setting.stop();
  }
}

/** Requests a second. */
function capacity(start: Start): Promise<number> {
  return using(start, async (subject, setting) => {
    await setting.flood(subject, WARM_UP_SECONDS);
    return (await setting.flood(subject, CAPACITY_SECONDS)).perSecond;
  });
}

/** A row of the output: all turns of one side at one rate. */
class Turns {
  readonly #name: string;
  readonly #start: Start;
  readonly #rate: number;
  readonly #latencies: number[] = [];
  /** What is wrong with the figures, or why there are no more. */
  #remark = "";
  failed = false;

  /** @param rate requests a second */
  constructor(name: string, start: Start, rate: number) {
    this.#name = name;
    this.#start = start;
    this.#rate = rate;
  }

  /** A side that fails does not end the other. */
  async turn(tell: Tell): Promise<void> {
    if (this.failed) return;
    tell(`${this.#name} at ${spansPerSecond(this.#rate)}`);
    try {
      await using(this.#start, async (subject, setting) => {
        await setting.paced(subject, this.#rate, WARM_UP_SECONDS);
        const { latencies, refused, unanswered } = await setting.paced(subject, this.#rate, SECONDS);
        this.#latencies.push(...latencies);
        if (refused + unanswered > 0) this.#remark += ` ${refused} REFUSED, ${unanswered} UNANSWERED`;
      });
    } catch (error) {
      this.failed = true;
      this.#remark += ` FAILED: ${(error as Error).message}`;
    }
  }

  /** Milliseconds: p50, p99, p99.9 and the worst. */
  get figures(): number[] {
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    return [0.5, 0.99, 0.999, 1].map(
      (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!,
    );
  }

  get line(): string {
    const cells = this.figures.map((figure) => (figure ?? Number.NaN).toFixed(1).padStart(9)).join("");
    const [rate, requests] = [spansPerSecond(this.#rate).padStart(18), String(this.#latencies.length).padStart(10)];
    return `${this.#name.padEnd(30)}${rate}${requests}${cells}${this.#remark}\n`;
  }
}

function ratios(what: string, own: Turns, other: Turns): string {
  const theirs = other.figures;
  const cells = own.figures.map((figure, at) => (figure / theirs[at]!).toFixed(2).padStart(9));
  return `${what.padEnd(58)}${cells.join("")}\n`;
}

async function run(tell: Tell): Promise<void> {
  const peer = findPeer();
  const startPeer: Start = (env) => peer.start(env);
  tell("the most that ours acknowledges");
  const most = await capacity(startOurs);
  tell(`${spansPerSecond(most)}; the most that the peer acknowledges`);
  const peersMost = await capacity(startPeer);
  tell(spansPerSecond(peersMost));
  const own = new Turns("ours, half of its maximum", startOurs, most / 2);
  const other = new Turns("peer, half of its maximum", startPeer, peersMost / 2);
  const same = new Turns("ours, at the peer's rate", startOurs, peersMost / 2);
  for (let round = 0; round < ROUNDS; round++) {
    for (const turns of [own, other, same]) await turns.turn(tell);
  }
  process.stdout.write(
    `peer: ${peer.description}\nmilliseconds until a request is acknowledged; ${ROUNDS} turns of ${SECONDS} s\n` +
      `${"".padEnd(30)}${"rate".padStart(18)}  requests      p50      p99    p99.9    worst\n` +
      `${own.line}${other.line}${same.line}` +
      ratios("ours / peer, each at half of its maximum", own, other) +
      ratios("ours / peer, at the same rate", same, other),
  );
  if ([own, other, same].some(({ failed }) => failed)) throw new Error("not all figures are there");
}

// A start and an end beside each measurement, and ten seconds for what is under way.
const MEASUREMENTS = 2 + 3 * ROUNDS;
await within(import.meta.filename, 60 + 2 * CAPACITY_SECONDS + MEASUREMENTS * (WARM_UP_SECONDS + SECONDS + 40), run);
