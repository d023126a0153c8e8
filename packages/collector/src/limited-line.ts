/**
 * When to write a log line about something that senders can cause as often as they like: once in a while, with how often it
 * happened. What fills one disk must not fill another one with lines about it.
 */
export class LimitedLine {
  readonly #everyMs: number;
  #count = 0;
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** Counts one. When a line is due: how many there were since the last line; else 0. */
  due(): number {
    this.#count++;
    const now = performance.now();
    if (now - this.#writtenAt < this.#everyMs) return 0;
    const count = this.#count;
    this.#writtenAt = now;
    this.#count = 0;
    return count;
  }
}
