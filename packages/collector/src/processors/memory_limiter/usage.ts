import { totalmem } from "node:os";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Memory of the process, without what V8 and the allocator keep for later: resident memory hardly falls again, and a
 * limiter that measures it would refuse for ever. Every thread writes its part and reads the sum.
 */
export class MemoryUsage {
  readonly #parts: Float64Array;
  readonly #own: number;

  /** @param shared eight bytes for each thread; @param own the number of this one */
  constructor(shared: SharedArrayBuffer, own: number) {
    this.#parts = new Float64Array(shared);
    this.#own = own;
  }

  /** Bytes in use now by all threads; the parts of the others are as old as their last measurement. */
  measure(): number {
    // External are the buffers, and the texts that do not stand in the heap.
    const { heapUsed, external } = process.memoryUsage();
    this.#parts[this.#own] = heapUsed + external;
    return this.#parts.reduce((sum, part) => sum + part, 0);
  }

  /** This thread does not count any more. */
  forget(): void {
    this.#parts[this.#own] = 0;
  }
}

/** The memory that the container may use, or the machine has, in bytes. */
export function totalMemory(): number {
  // Without a limit it is 0 or larger than any machine.
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

let gc: (() => void) | undefined;

/** Collects the garbage of this thread now. It stops the thread for some 10 ms for each 100 MiB in use. */
export function collectGarbage(): void {
  if (!gc) {
    setFlagsFromString("--expose-gc");
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the flag defines in a new context
    gc = runInNewContext("gc") as () => void;
  }
  gc();
}
