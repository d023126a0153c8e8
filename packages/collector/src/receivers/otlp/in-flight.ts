import { HttpError } from "./http-error.ts";

/** Bytes of requests under way, shared by all connections of a receiver. */
export class InFlight {
  #bytes = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The share of one request. */
  reserve(): Reservation {
    let held = 0;
    return {
      grow: (bytes) => {
        if (this.#bytes + bytes > this.#limit) return false;
        this.#bytes += bytes;
        held += bytes;
        return true;
      },
      refusal: () =>
        new HttpError(
          503,
          `${this.#bytes} bytes of requests are under way, the limit (max_in_flight_bytes) is ${this.#limit}; send it again`,
        ),
      release: () => {
        this.#bytes -= held;
        held = 0;
      },
    };
  }
}

/** What one request holds of the bytes that may be under way. */
export interface Reservation {
  /** Counts bytes more; false when there is no room, and then they are not counted. */
  grow(bytes: number): boolean;
  /** What the client is told when there is no room. */
  refusal(): HttpError;
  /** Gives all of it back. */
  release(): void;
}
