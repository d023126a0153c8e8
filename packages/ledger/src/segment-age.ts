/** The longest that a backlog makes an open segment live. */
const MAX_BACKLOG_AGE_MS = 60_000;

/**
 * Closes an open segment in time. Each insert costs the same for one row and for many: where they take longer than
 * segments take to age, more of them would only wait longer, so the more wait, the larger the next one is.
 */
export class SegmentAge {
  readonly #maxAgeMs: number;
  readonly #backlog: () => number;
  readonly #close: () => Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  /** On the monotonic clock. */
  #since = 0;
  #ended = false;

  /**
   * @param backlog how many closed segments wait for export
   * @param close rejects when the segment could not be closed; tried again after the same time, or by the next append
   */
  constructor(maxAgeMs: number, backlog: () => number, close: () => Promise<void>) {
    this.#maxAgeMs = maxAgeMs;
    this.#backlog = backlog;
    this.#close = close;
  }

  /** An open segment has rows. */
  start(): void {
    if (this.#timer !== undefined || this.#ended) return;
    this.#since = performance.now();
    this.#checkLater();
  }

  /** There is no open segment. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** There will be none any more, whatever comes back from `close`. */
  end(): void {
    this.stop();
    this.#ended = true;
  }

  #checkLater(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // The backlog may have shrunk since the last look.
      if (performance.now() - this.#since < this.#limit()) this.#checkLater();
      else this.#close().catch(() => this.start());
    }, this.#maxAgeMs).unref();
  }

  #limit(): number {
    return Math.max(this.#maxAgeMs, Math.min(this.#maxAgeMs * (1 + this.#backlog()), MAX_BACKLOG_AGE_MS));
  }
}
