import type { Item } from "./records.ts";

const SENT = 1;
const ACKNOWLEDGED = 2;
const MAY_BE_LOST = 4;
/** Bits of variant 1 stand this much higher. */
const VARIANT_SHIFT = 4;

/** What became of every record, as its producer saw it. A byte a record. */
export class Book {
  readonly #states = new Map<number, Uint8Array>();
  /** Calls that were made, records in them included once a call. */
  requests = 0;
  refusals = 0;
  /** Nobody listened. */
  unreachable = 0;
  /** No answer: cut, timed out, collector gone in between. */
  unknown = 0;
  /** Records that were sent another time. */
  retried = 0;
  sent = 0;
  acknowledged = 0;
  conflicts = 0;
  /** What no fault explains: refusals of what is valid. */
  readonly surprises: string[] = [];

  send(item: Item): void {
    if (this.#set(item, SENT)) {
      this.sent++;
      if (item.variant > 0) this.conflicts++;
    } else this.retried++;
  }

  acknowledge(item: Item): void {
    if (this.#set(item, ACKNOWLEDGED)) this.acknowledged++;
  }

  /** Its bytes were destroyed on purpose. */
  mayBeLost(item: Item): void {
    this.#set(item, MAY_BE_LOST);
  }

  isSent(item: Item): boolean {
    return this.#has(item, SENT);
  }

  isAcknowledged(item: Item): boolean {
    return this.#has(item, ACKNOWLEDGED);
  }

  isHit(item: Item): boolean {
    return this.#has(item, MAY_BE_LOST);
  }

  surprise(what: string): void {
    if (this.surprises.length < 20) this.surprises.push(what);
  }

  /** Every record that was acknowledged. */
  *allAcknowledged(): Iterable<Item> {
    for (const [producer, states] of this.#states) {
      for (let n = 0; n < states.length; n++) {
        for (const variant of [0, 1]) {
          const item = { producer, n, variant };
          if (this.isAcknowledged(item)) yield item;
        }
      }
    }
  }

  #has({ producer, n, variant }: Item, bit: number): boolean {
    return ((this.#states.get(producer)?.[n] ?? 0) & (bit << (variant * VARIANT_SHIFT))) !== 0;
  }

  /** False when it was set before. */
  #set({ producer, n, variant }: Item, bit: number): boolean {
    let states = this.#states.get(producer) ?? new Uint8Array(1024);
    if (n >= states.length) {
      const grown = new Uint8Array(Math.max(states.length * 2, n + 1));
      grown.set(states);
      states = grown;
    }
    this.#states.set(producer, states);
    const mask = bit << (variant * VARIANT_SHIFT);
    const fresh = (states[n]! & mask) === 0;
    states[n]! |= mask;
    return fresh;
  }
}
