/** A lock of threads in one word of shared memory: 0 free, 1 held, 2 held and waited for. Waiting blocks the thread. */
export class Mutex {
  readonly #words: Int32Array;
  readonly #at: number;

  constructor(words: Int32Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  /** Runs `work`, which must be short, while no other thread does. */
  run<T>(work: () => T): T {
    if (Atomics.compareExchange(this.#words, this.#at, 0, 1) !== 0) {
      while (Atomics.exchange(this.#words, this.#at, 2) !== 0) Atomics.wait(this.#words, this.#at, 2);
    }
    try {
      return work();
    } finally {
      if (Atomics.exchange(this.#words, this.#at, 0) === 2) Atomics.notify(this.#words, this.#at, 1);
    }
  }
}
