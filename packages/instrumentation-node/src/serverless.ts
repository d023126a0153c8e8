import { flush } from "./start.ts";

/** How the end of a handler waits for its records. */
export interface FlushOptions {
  /** At most this long, in milliseconds; what is not sent by then stays in the spool. Default 2000, sensible 100 to 5000. */
  readonly timeoutMs?: number | undefined;
}

const TIMEOUT_MS = 2000;

/**
 * A handler whose records are sent before it answers: for platforms that freeze or end a process between two calls. It
 * answers what `handler` answers, or fails as it does; that records could not be sent is no failure of it. A handler
 * that answers by a callback is to be made a promise first.
 */
export function withFlush<This, A extends unknown[], R>(
  handler: (this: This, ...args: A) => R,
  options: FlushOptions = {},
): (this: This, ...args: A) => Promise<Awaited<R>> {
  const { timeoutMs = TIMEOUT_MS } = options;
  return async function (this: This, ...args: A): Promise<Awaited<R>> {
    try {
      return await Reflect.apply(handler, this, args);
    } finally {
      await flush(timeoutMs).catch(() => false);
    }
  };
}
