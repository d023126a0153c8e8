import { setTimeout as sleep } from "node:timers/promises";
import type { Book } from "./book.ts";
import { Random } from "./random.ts";
import type { Item, Records } from "./records.ts";
import type { Cut, Outcome, Transport } from "./transport.ts";

/** What a producer does on purpose. */
interface Habits {
  /** Breaks connections in mid-request, and between request and answer. */
  readonly cuts: boolean;
  /** Sends what was not acknowledged in other groupings, other orders and over other connections. */
  readonly rebatches: boolean;
  /** Sends what was acknowledged again, and the same at the same time. */
  readonly duplicates: boolean;
  /** Sends other content under ids that are taken. */
  readonly conflicts: boolean;
}

const MAX_WAITING = 3_000;
const RECENT = 500;
const MAX_PAUSE_MS = 400;

/** Sends known records, each until it is acknowledged, and writes down what it was told. */
export class Producer {
  readonly #number: number;
  readonly #transport: Transport;
  readonly #records: Records;
  readonly #book: Book;
  readonly #habits: Habits;
  readonly #random: Random;
  readonly #rate: number;
  #next = 0;
  /** Sent and not acknowledged. */
  #waiting: Item[] = [];
  /** Sent lately, whatever came of it. */
  readonly #recent: Item[] = [];
  #stopping = false;
  #failures = 0;

  /** @param rate new records a second */
  constructor(
    number: number,
    transport: Transport,
    records: Records,
    book: Book,
    habits: Habits,
    rate: number,
    seed: number,
  ) {
    this.#number = number;
    this.#transport = transport;
    this.#records = records;
    this.#book = book;
    this.#habits = habits;
    this.#rate = rate;
    this.#random = new Random(seed, "producer", number);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Makes nothing new any more; what waits is still sent. */
  stop(): void {
    this.#stopping = true;
  }

  /** Sends until `stop` was called and all is acknowledged, or `giveUp` says so. */
  async run(giveUp: () => boolean): Promise<void> {
    while (!giveUp()) {
      const fresh = this.#stopping ? 0 : this.#make();
      if (this.#stopping && this.#waiting.length === 0) break;
      await this.#send();
      await this.#pause(fresh);
    }
    this.#transport.close();
  }

  /** Puts new records among those that wait. Returns how many. */
  #make(): number {
    const random = this.#random;
    if (this.#waiting.length > MAX_WAITING) return 0;
    const count = random.chance(0.03) ? random.between(200, 600) : random.between(1, 40);
    for (let i = 0; i < count; i++) {
      this.#waiting.push({ producer: this.#number, n: this.#next++, variant: 0 });
      if (this.#habits.conflicts && this.#recent.length > 0 && random.chance(0.01)) {
        this.#waiting.push({ ...random.pick(this.#recent), variant: 1 });
      }
    }
    return count;
  }

  async #send(): Promise<void> {
    const random = this.#random;
    const { cuts, rebatches, duplicates } = this.#habits;
    if (rebatches && this.#waiting.length > 1 && random.chance(0.5)) random.shuffle(this.#waiting);
    const batch = this.#waiting.splice(0, random.between(1, 700));
    if (batch.length === 0) return;
    const again = duplicates && random.chance(0.2) ? this.#someRecent() : [];
    const cut: Cut | undefined = cuts && random.chance(0.05) ? random.pick(["in-request", "before-answer"]) : undefined;
    const sends = [this.#request([...batch, ...again], cut, random.chance(0.1))];
    // The same records at the same time over another connection, in another grouping.
    if (duplicates && random.chance(0.1)) {
      const half = batch.slice(random.between(0, batch.length - 1));
      sends.push(this.#request([...this.#someRecent(), ...half], undefined, true));
    }
    const outcomes = await Promise.all(sends);
    for (const item of batch) {
      if (!this.#book.isAcknowledged(item)) this.#waiting.push(item);
      if (this.#recent.length < RECENT) this.#recent.push(item);
      else this.#recent[random.between(0, RECENT - 1)] = item;
    }
    const failed = outcomes.some(({ kind }) => kind !== "acknowledged") && cut === undefined;
    this.#failures = failed ? this.#failures + 1 : 0;
  }

  async #request(items: readonly Item[], cut: Cut | undefined, fresh: boolean): Promise<Outcome> {
    const book = this.#book;
    // The same id twice in one request with other content is a conflict, with the same a repetition: both are wanted.
    for (const item of items) book.send(item);
    book.requests++;
    const outcome = await this.#transport.send(this.#records.request(items), { cut, fresh });
    if (outcome.kind === "acknowledged") for (const item of items) book.acknowledge(item);
    else if (outcome.kind === "refused") book.refusals++;
    else if (outcome.kind === "unreachable") book.unreachable++;
    else if (outcome.kind === "unknown") book.unknown++;
    else book.surprise(outcome.what);
    return outcome;
  }

  #someRecent(): Item[] {
    if (this.#recent.length === 0) return [];
    return Array.from({ length: this.#random.between(1, 20) }, () => this.#random.pick(this.#recent));
  }

  #pause(fresh: number): Promise<unknown> {
    const wanted = (fresh / this.#rate) * 1000;
    const afterFailure = Math.min(20 * this.#failures, MAX_PAUSE_MS);
    return sleep(Math.max(afterFailure, wanted, 1));
  }
}
