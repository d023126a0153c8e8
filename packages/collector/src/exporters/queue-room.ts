import type { CreateContext, Signal } from "../component.ts";

/** Requests and bytes that wait in the queues of one signal, counted over all workers. */
export class QueueRoom {
  /** Two numbers for each worker, written by that one alone: no lock, and the sum is late by one request of each at most. */
  readonly #held: Float64Array;
  readonly #own: number;

  /** To be called in a component's constructor: worker 0 makes the memory. */
  constructor(signal: Signal, { shared, worker }: Pick<CreateContext, "shared" | "worker">) {
    this.#held = new Float64Array(shared(`queue/${signal}`, worker.count * 2 * Float64Array.BYTES_PER_ELEMENT));
    this.#own = worker.index * 2;
  }

  get requests(): number {
    return this.#sum(0);
  }

  get bytes(): number {
    return this.#sum(1);
  }

  /** Negative: what has left. */
  add(requests: number, bytes: number): void {
    this.#held[this.#own]! += requests;
    this.#held[this.#own + 1]! += bytes;
  }

  #sum(from: number): number {
    let sum = 0;
    for (let i = from; i < this.#held.length; i += 2) sum += this.#held[i]!;
    return sum;
  }
}
