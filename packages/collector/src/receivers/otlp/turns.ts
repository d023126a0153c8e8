import { setImmediate } from "node:timers/promises";

/** For work that holds up everybody: one piece after the other, and whatever else waits is done in between. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn; it is over as soon as the caller waits for something. */
  next(): Promise<void> {
    this.#last = this.#last.then(() => setImmediate());
    return this.#last;
  }
}
