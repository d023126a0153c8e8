/** Longer texts are rare, and not repeated. */
const MAX_KEY_LENGTH = 16_384;
const MAX_ENTRIES = 64;

/** Answers that depend on nothing but the question, kept for the last few of them. */
export class Memo<T extends {}> {
  readonly #answers = new Map<string, T>();

  async get(key: string, ask: () => Promise<T>): Promise<T> {
    const known = this.#answers.get(key);
    if (known === undefined && key.length > MAX_KEY_LENGTH) return await ask();
    const answer = known ?? (await ask());
    // Last in, last out: a map keeps the order of insertion.
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_ENTRIES && oldest !== undefined) this.#answers.delete(oldest);
    return answer;
  }
}
