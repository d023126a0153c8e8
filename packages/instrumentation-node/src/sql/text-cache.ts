/** Bounds of a TextCache; lengths in UTF-16 units. */
interface TextCacheLimits {
  readonly maxEntries: number;
  /** Longer texts are not kept. */
  readonly maxTextLength: number;
  readonly maxTotalLength: number;
}

/** Values by text; the least recently used go first. */
export class TextCache<V> {
  readonly #limits: TextCacheLimits;
  readonly #values = new Map<string, V>();
  #total = 0;
  #newest: string | undefined;
  #newestValue: V | undefined;

  constructor(limits: TextCacheLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#values.size;
  }

  get totalLength(): number {
    return this.#total;
  }

  get(text: string): V | undefined {
    // A loop over one statement is the usual case, and needs no reordering.
    if (text === this.#newest) return this.#newestValue;
    const value = this.#values.get(text);
    if (value === undefined) return undefined;
    this.#values.delete(text);
    this.#values.set(text, value);
    this.#newest = text;
    this.#newestValue = value;
    return value;
  }

  set(text: string, value: V): void {
    const { maxEntries, maxTextLength, maxTotalLength } = this.#limits;
    if (text.length > maxTextLength) return;
    if (!this.#values.delete(text)) this.#total += text.length;
    this.#values.set(text, value);
    this.#newest = text;
    this.#newestValue = value;
    for (const oldest of this.#values.keys()) {
      if (this.#values.size <= maxEntries && this.#total <= maxTotalLength) return;
      this.#values.delete(oldest);
      this.#total -= oldest.length;
      if (oldest === this.#newest) this.#newest = undefined;
    }
  }
}
