import { exception } from "./exception.ts";

/** At most so many at a time, in the order they came; a bounded number may wait. */
export class Slots {
  readonly #size: number;
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(size: number, maxWaiting: number) {
    this.#size = size;
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Resolves with the function that gives the slot back.
   *
   * @throws ClickHouseError 202 when too many wait, 394 when the signal fires first.
   */
  async acquire(signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw exception("QUERY_WAS_CANCELLED", "the client went away");
    if (this.#taken >= this.#size) {
      if (this.#waiting.length >= this.#maxWaiting) {
        throw exception("TOO_MANY_SIMULTANEOUS_QUERIES", `Too many simultaneous queries. Maximum: ${this.#size}`);
      }
      await this.#wait(signal);
    } else {
      this.#taken++;
    }
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const next = this.#waiting.shift();
      if (next === undefined) this.#taken--;
      else next();
    };
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(exception("QUERY_WAS_CANCELLED", "the client went away"));
      };
      this.#waiting.push(turn);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}
