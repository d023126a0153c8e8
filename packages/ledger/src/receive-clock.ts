import type { LedgerAlarm } from "./types.ts";

const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;
const NS_PER_MS = 1_000_000n;
const NS_PER_SECOND = 1_000_000_000n;
/** So far back a clock that is being corrected goes without anybody's notice. */
const MAX_STEP_BACK = NS_PER_SECOND;

/** Gives the rows of a stream their ReceivedAt: the wall clock in ns, that never goes back by a little. */
export class ReceiveClock {
  readonly #wall: () => bigint;
  readonly #onAlarm: (alarm: LedgerAlarm) => void;
  #last = 0n;

  constructor(wall: () => bigint, onAlarm: (alarm: LedgerAlarm) => void) {
    this.#wall = wall;
    this.#onAlarm = onAlarm;
  }

  /**
   * After a small step back of the clock it stands until the clock caught up. A large one means that the time before was
   * wrong: to stay there would put all records to come into that time.
   */
  next(): bigint {
    const now = this.#wall();
    const bounded = now < 0n ? 0n : now > MAX_INT64 ? MAX_INT64 : now;
    const behind = this.#last - bounded;
    if (behind > MAX_STEP_BACK) {
      const message = `the clock went back by ${behind / NS_PER_SECOND} s: ReceivedAt of records before may be wrong`;
      this.#onAlarm({ code: "CLOCK", message });
    }
    if (behind < 0n || behind > MAX_STEP_BACK) this.#last = bounded;
    return this.#last;
  }

  /** Of what an earlier process left only the wall clock knows how old it is; here on the monotonic clock, ms. */
  monotonic(receivedAt: bigint): number {
    return performance.now() - Math.max(0, Number((this.#wall() - receivedAt) / NS_PER_MS));
  }
}
