/**
 * HalfSipHash-2-4 with 64 bits of output, under a secret key: nobody can prepare two record ids that meet. Over: length
 * of the principal (u32), principal, record id.
 */
export class Fingerprint {
  low = 0;
  high = 0;
  readonly #key0: number;
  readonly #key1: number;
  #scratch = new Uint8Array(512);
  #words = new DataView(this.#scratch.buffer);

  constructor(key0: number, key1: number) {
    this.#key0 = key0;
    this.#key1 = key1;
  }

  /** Leaves the result in `low` and `high`. */
  of(principal: Uint8Array, id: Uint8Array, idStart: number, idEnd: number): void {
    const length = 4 + principal.length + idEnd - idStart;
    if (length + 4 > this.#scratch.length) {
      this.#scratch = new Uint8Array(length * 2);
      this.#words = new DataView(this.#scratch.buffer);
    }
    const data = this.#scratch;
    data[0] = principal.length;
    data[1] = principal.length >>> 8;
    data[2] = principal.length >>> 16;
    data[3] = principal.length >>> 24;
    for (let i = 0; i < principal.length; i++) data[4 + i] = principal[i]!;
    for (let i = idStart, to = 4 + principal.length; i < idEnd; i++) data[to++] = id[i]!;
    const whole = length & ~3;
    for (let i = length; i < whole + 3; i++) data[i] = 0;
    data[whole + 3] = length;
    const view = this.#words;
    let v0 = this.#key0 | 0;
    let v1 = (this.#key1 ^ 0xee) | 0;
    let v2 = 0x6c796765 ^ this.#key0;
    let v3 = 0x74656462 ^ this.#key1;
    // Words of the message, then four rounds for each half of the output.
    const words = (whole >>> 2) + 1;
    for (let step = 0; step < words + 2; step++) {
      const message = step < words ? view.getInt32(step * 4, true) : 0;
      if (step < words) v3 ^= message;
      else if (step === words) v2 ^= 0xee;
      else v1 ^= 0xdd;
      for (let round = step < words ? 2 : 4; round > 0; round--) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      if (step < words) v0 ^= message;
      else if (step === words) this.low = (v1 ^ v3) >>> 0;
      else this.high = (v1 ^ v3) >>> 0;
    }
  }
}

/** Four bytes as an unsigned number. */
export function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
