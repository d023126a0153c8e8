/** How a canary looks in any text; its check tells one that was sent from one that a mutation made up. */
const PATTERN = /ca(?=([0-9a-z]{6})([0-9a-z]{7}))/g;
const LETTERS = 36;

/** Texts that say which request they were sent in: a short one, so that there is room for one in every string. */
export class Canaries {
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  of(n: number): string {
    return `ca${n.toString(LETTERS).padStart(6, "0")}${this.#check(n)}`;
  }

  /** Four bytes of the number and four of its check, for ids. */
  bytes(n: number): Buffer {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(n, 0);
    bytes.writeUInt32BE(this.#hash(n, 3), 4);
    return bytes;
  }

  /** The requests whose canaries are in a text (latin1 of any bytes). */
  find(text: string, into = new Set<number>()): Set<number> {
    for (const [, number, check] of text.matchAll(PATTERN)) {
      const n = Number.parseInt(number!, LETTERS);
      if (check === this.#check(n)) into.add(n);
    }
    return into;
  }

  /** The request that an id was made for. */
  ofId(hex: string): number | undefined {
    if (!/^[0-9a-f]{16}/.test(hex)) return undefined;
    const n = Number.parseInt(hex.slice(0, 8), 16);
    return Number.parseInt(hex.slice(8, 16), 16) === this.#hash(n, 3) ? n : undefined;
  }

  #check(n: number): string {
    const high = this.#hash(n, 1) % LETTERS ** 3;
    const low = this.#hash(n, 2) % LETTERS ** 4;
    return high.toString(LETTERS).padStart(3, "0") + low.toString(LETTERS).padStart(4, "0");
  }

  #hash(n: number, salt: number): number {
    let h = Math.imul(n ^ Math.imul(this.#seed + salt, 0x9e3779b1), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 16) ^ salt, 0x27d4eb2f);
    return (h ^ (h >>> 15)) >>> 0;
  }
}
