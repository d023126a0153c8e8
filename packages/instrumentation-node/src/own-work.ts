import { quietly } from "./audit.ts";
import { withoutDebugSpans } from "./trace-context.ts";

/** Runs synchronous work of the audit itself: no record of it, and no debug span by an instrumentation beside ours. */
export function ownWork<T>(fn: () => T): T {
  return quietly(() => withoutDebugSpans(fn));
}
