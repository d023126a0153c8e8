import { RequestError } from "./request-error.ts";

/** Bytes of requests under way, counted over all protocols and workers. */
export class InFlight {
  /** A number for each worker, written by that one alone: no lock, and the sum is late by one chunk of each at most. */
  readonly #held: Float64Array;
  readonly #worker: number;
  readonly #limit: number;
  readonly #whole: InFlight | undefined;

  /** @param whole what it is a part of, in which its bytes are counted as well */
  constructor(limit: number, held: Float64Array, worker: number, whole?: InFlight) {
    this.#limit = limit;
    this.#held = held;
    this.#worker = worker;
    this.#whole = whole;
  }

  get bytes(): number {
    let sum = 0;
    for (const bytes of this.#held) sum += bytes;
    return sum;
  }

  /** The share of one request. */
  reserve(): Reservation {
    let held = 0;
    return {
      grow: (bytes) => {
        if (!this.#add(bytes)) return false;
        held += bytes;
        return true;
      },
      refusal: () =>
        new RequestError(
          "unavailable",
          `${this.bytes} bytes of requests are under way, the limit (max_in_flight_bytes) is ${this.#limit}; send it again`,
        ),
      release: () => {
        this.#remove(held);
        held = 0;
      },
    };
  }

  #add(bytes: number): boolean {
    if (this.bytes + bytes > this.#limit) return false;
    if (this.#whole && !this.#whole.#add(bytes)) return false;
    this.#held[this.#worker]! += bytes;
    return true;
  }

  #remove(bytes: number): void {
    this.#held[this.#worker]! -= bytes;
    if (this.#whole) this.#whole.#remove(bytes);
  }
}

/** What one request holds of the bytes that may be under way. */
export interface Reservation {
  /** Counts bytes more; false when there is no room, and then they are not counted. */
  grow(bytes: number): boolean;
  /** What the client is told when there is no room. */
  refusal(): RequestError;
  /** Gives all of it back. */
  release(): void;
}

/** What a request may hold in memory until it is answered. */
export interface BodyLimits {
  /** Bytes of one body, before and after decompression. */
  readonly maxBody: number;
  /** The setting that says so, for the error. */
  readonly limitName: string;
  readonly reservation: Reservation;
  readonly timeoutMs?: number;
}

/** A body as it came. */
export type Chunks = readonly Buffer[];
