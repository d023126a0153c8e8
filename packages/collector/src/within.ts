import { scheduler } from "node:timers/promises";

/** What a promise gives, or `otherwise` when that takes longer. The promise goes on; its failure is the caller's. */
export async function within<T, O>(ms: number, promise: Promise<T>, otherwise: O): Promise<T | O> {
  const over = new AbortController();
  const late = scheduler.wait(ms, { signal: over.signal }).then(() => otherwise);
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => {});
    over.abort();
  }
}
