import type { Principal } from "../../auth.ts";
import { RequestError, tooLarge } from "./request-error.ts";

/** Whose credential a request came with: the part of its principal that counts here. */
export type Sender = Pick<Principal, "id" | "hold">;

/**
 * Bytes of requests under way, counted over all protocols and workers. Nobody gets more than is left for the others
 * (a dynamic threshold, as switches share their buffers): half of it when there is one, and the next always finds room.
 */
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

  /** The share of one request. Without credentials nobody is told apart, and everybody shares the whole. */
  reserve(sender?: Sender): Reservation {
    let held = 0;
    /** What there is for one request when nobody else has anything under way. */
    const most = sender ? this.#limit / 2 : this.#limit;
    let neverFits = false;
    return {
      grow: (bytes) => {
        const ofSender = sender?.hold(bytes) ?? 0;
        const fits = this.#add(bytes, ofSender);
        if (fits) held += bytes;
        else {
          sender?.hold(-bytes);
          neverFits = held + bytes > most;
        }
        return fits;
      },
      refusal: () => {
        if (neverFits) return tooLarge(most, "max_in_flight_bytes", "with what is made of it");
        const whose =
          sender &&
          `, ${sender.hold(0)} of them of credential "${sender.id}", which gets no more than it leaves to others`;
        return new RequestError(
          "unavailable",
          `${this.bytes} bytes of requests are under way${whose ?? ""}; the limit (max_in_flight_bytes) is ${this.#limit}; send it again`,
        );
      },
      release: () => {
        this.#remove(held);
        sender?.hold(-held);
        held = 0;
      },
    };
  }

  /** @param ofSender bytes that its sender has under way with these; as many have to stay free */
  #add(bytes: number, ofSender: number): boolean {
    if (this.bytes + bytes + ofSender > this.#limit) return false;
    if (this.#whole && !this.#whole.#add(bytes, ofSender)) return false;
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
