/** Memory by name that all workers see. */
export class SharedMemory {
  readonly #buffers: Map<string, SharedArrayBuffer>;

  /** @param given the memory that worker 0 has made, for the other workers */
  constructor(given: ReadonlyMap<string, SharedArrayBuffer> = new Map()) {
    this.#buffers = new Map(given);
  }

  get(name: string, byteLength: number): SharedArrayBuffer {
    let buffer = this.#buffers.get(name);
    if (buffer === undefined) {
      buffer = new SharedArrayBuffer(byteLength);
      this.#buffers.set(name, buffer);
    }
    if (buffer.byteLength !== byteLength) {
      throw new RangeError(`shared memory "${name}" has ${buffer.byteLength} bytes, not ${byteLength}`);
    }
    return buffer;
  }

  /** All of it, to be given to another thread. */
  get buffers(): ReadonlyMap<string, SharedArrayBuffer> {
    return this.#buffers;
  }
}
