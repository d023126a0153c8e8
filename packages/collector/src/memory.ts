/** Bytes that a pool keeps for reuse. Enough for a hundred requests of the usual size; what is above it is left to the garbage collector. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;
/** Below this an allocation is cheap, and a large part of a page-sized buffer would be waste. */
const MIN_POOLED_BYTES = 16 * 1024;
/** Above this a buffer is used once: a few of them would push out all others. */
const MAX_POOLED_BYTES = 4 * 1024 * 1024;
/** Sizes are rounded up to this, so that requests of almost the same size share buffers. */
const STEP_BYTES = 16 * 1024;

/**
 * Memory for request bodies, used again and again: allocating a body of 300 KiB for every request costs more in garbage
 * collection than all of the work on it. A buffer is never in two hands: it comes back only when its last holder has
 * released it, and never when somebody outside (a broken upload) may still read it.
 */
export class MemoryPool {
  readonly #free: Uint8Array[] = [];
  #kept = 0;

  /** Bytes that wait for reuse. */
  get keptBytes(): number {
    return this.#kept;
  }

  /** Memory of at least `bytes`, with anything in it, held once. */
  take(bytes: number): Memory {
    if (bytes < MIN_POOLED_BYTES || bytes > MAX_POOLED_BYTES) return new Memory(allocate(bytes), undefined);
    for (let i = this.#free.length - 1; i >= 0; i--) {
      const buffer = this.#free[i]!;
      // One that is far too large would be missed by a request that needs it.
      if (buffer.length < bytes || buffer.length > bytes * 2) continue;
      this.#free.splice(i, 1);
      this.#kept -= buffer.length;
      return new Memory(buffer, this);
    }
    return new Memory(allocate(Math.ceil(bytes / STEP_BYTES) * STEP_BYTES), this);
  }

  /** Only for `Memory`. */
  giveBack(buffer: Uint8Array): void {
    this.#free.push(buffer);
    this.#kept += buffer.length;
    while (this.#kept > MAX_KEPT_BYTES) this.#kept -= this.#free.shift()!.length;
  }
}

/** Memory with a count of those who hold it. */
export class Memory {
  /** At least as long as asked for. */
  readonly buffer: Uint8Array;
  #pool: MemoryPool | undefined;
  #holders = 1;

  constructor(buffer: Uint8Array, pool: MemoryPool | undefined) {
    this.buffer = buffer;
    this.#pool = pool;
  }

  /** One holder more, who has to release it as well. */
  retain(): void {
    this.#check();
    this.#holders++;
  }

  /** The caller does not use it any more; when nobody does it is used again. */
  release(): void {
    this.#check();
    if (--this.#holders === 0) this.#pool?.giveBack(this.buffer);
  }

  /** Like `release`, but it is never used again: somebody who holds nothing may still read it. */
  discard(): void {
    this.#pool = undefined;
    this.release();
  }

  #check(): void {
    if (this.#holders === 0) throw new RangeError("memory is used after its last release");
  }
}

/** Not zeroed: every byte that is read was written before. Not from Node's own pool, which others share. */
function allocate(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes);
}
