import type { ClosedSegment } from "@otel-audit/ledger";
import type { ClickHouseError } from "./errors.ts";

/** How long after a failure: milliseconds for the n-th in a row. */
type Backoff = (failures: number) => number;

interface Failed {
  readonly error: ClickHouseError;
  readonly tries: number;
  /** On the monotonic clock. */
  readonly retryAt: number;
  /** It failed while others got through. */
  readonly alone: boolean;
}

interface Blocked {
  readonly error: ClickHouseError;
  /** In a row. */
  readonly failures: number;
  /** Segments that failed since then. */
  readonly paths: ReadonlySet<string>;
  readonly retryAt: number;
}

/** Segments in a row whose failures mean that it is not about them. */
const ENOUGH = 3;

/**
 * Tells a server that takes nothing from a segment that it does not take. Any failure holds all segments back, but for one
 * at a time that finds out whether it is still so: another one each time. When the next one gets through, only the one that
 * failed waits on, with pauses of its own.
 */
export class SegmentFailures {
  readonly #failed = new Map<string, Failed>();
  readonly #backoff: Backoff;
  #blocked: Blocked | undefined;
  /** Segments that failed again since anything got through. */
  readonly #again = new Set<string>();

  constructor(backoff: Backoff) {
    this.#backoff = backoff;
  }

  /** Why nothing gets through. */
  get blockedBy(): ClickHouseError | undefined {
    return this.#blocked?.error;
  }

  errorOf(path: string): ClickHouseError | undefined {
    return this.#failed.get(path)?.error;
  }

  /** Those that do not get through while others do, in the order of their first failure. */
  stopped(): { path: string; error: ClickHouseError }[] {
    return [...this.#failed].filter(([, { alone }]) => alone).map(([path, { error }]) => ({ path, error }));
  }

  isDue(path: string): boolean {
    return (this.#failed.get(path)?.retryAt ?? 0) <= performance.now();
  }

  /** Milliseconds until a probe may go; 0 when nothing is blocked. */
  get pauseMs(): number {
    return this.#blocked === undefined ? 0 : Math.max(0, this.#blocked.retryAt - performance.now());
  }

  /** The segment that finds out whether the way is free: the oldest that has not failed, or the one whose turn it is. */
  probe(closed: readonly ClosedSegment[]): ClosedSegment | undefined {
    const untried = closed.find(({ path }) => !this.#failed.has(path));
    if (this.pauseMs > 0) return this.#mayBeOne() ? untried : undefined;
    if (untried !== undefined) return untried;
    const turn = (segment: ClosedSegment): number => this.#failed.get(segment.path)?.retryAt ?? 0;
    return closed.toSorted((a, b) => turn(a) - turn(b))[0];
  }

  failed(path: string, error: ClickHouseError, pauseMs?: number): void {
    const before = this.#failed.get(path);
    const tries = (before?.tries ?? 0) + 1;
    // One that had failed before while others got through says nothing about them.
    if (before !== undefined) this.#again.add(path);
    const says = before === undefined || this.#blocked !== undefined || this.#again.size >= ENOUGH;
    const alone = isHopeless(error) || before?.alone === true || !says;
    this.#failed.set(path, { error, tries, alone, retryAt: performance.now() + this.#backoff(tries) });
    if (isHopeless(error)) {
      // The server had its say: should it still be the problem, the next segment finds that out.
      this.#unblock();
      return;
    }
    if (!says) return;
    const failures = (this.#blocked?.failures ?? 0) + 1;
    const paths = new Set(this.#blocked?.paths).add(path);
    this.#blocked = { error, failures, paths, retryAt: performance.now() + (pauseMs ?? this.#backoff(failures)) };
  }

  /** @returns whether nothing had got through before. */
  succeeded(path: string): boolean {
    this.#failed.delete(path);
    this.#again.clear();
    return this.#unblock();
  }

  /** All pauses are over. */
  retry(): void {
    if (this.#blocked !== undefined) this.#blocked = { ...this.#blocked, retryAt: 0 };
    for (const [path, failed] of this.#failed) this.#failed.set(path, { ...failed, retryAt: 0 });
  }

  #unblock(): boolean {
    const blocked = this.#blocked;
    if (blocked === undefined) return false;
    this.#blocked = undefined;
    for (const [path, failed] of this.#failed) {
      if (!blocked.paths.has(path)) continue;
      // The very next one got through: it was the segment. Otherwise all that failed is due again, in its order.
      if (blocked.paths.size === 1) this.#failed.set(path, { ...failed, alone: true });
      else if (isOwn(failed.error)) this.#failed.set(path, { ...failed, retryAt: 0 });
      else this.#failed.delete(path);
    }
    return true;
  }

  #mayBeOne(): boolean {
    return this.#blocked !== undefined && this.#blocked.paths.size < ENOUGH && isOwn(this.#blocked.error);
  }
}

/** Its bytes or its rows in the table are not as they should be: trying again changes nothing, unless somebody mends it. */
export function isHopeless(error: ClickHouseError | undefined): boolean {
  return error?.code === "PARTIAL_SEGMENT" || error?.code === "BAD_ROWS";
}

/** An error that may well be about a segment's content, and not about the server or the way there. */
function isOwn(error: ClickHouseError): boolean {
  return isHopeless(error) || error.code === "SERVER" || error.code === "NOT_STORED" || error.code === "WORKER";
}
