import type { ClosedSegment, Ledger } from "@otel-audit/ledger";
import type { AuditWriter } from "./audit-writer.ts";
import { ClickHouseError } from "./errors.ts";
import { FAILURES } from "./failure-reason.ts";
import { isHopeless, SegmentFailures } from "./segment-failures.ts";

/** Whether segments reach the table. */
export type ShipperState =
  | { readonly status: "healthy" }
  | {
      readonly status: "degraded";
      /** What is wrong, for a person. */
      readonly reason: string;
      readonly error: ClickHouseError;
      /** Nothing gets through. False: the segments in `stopped` do not, all others do. */
      readonly blocked: boolean;
      /** Segments that failed while others went through, by path. They are tried again, ever more rarely. */
      readonly stopped: readonly string[];
    };

/** What a {@link SegmentShipper} works with. */
export interface SegmentShipperOptions {
  /** Where the closed segments are. */
  readonly ledger: Pick<Ledger, "closedSegments" | "removeSegment" | "rotate" | "streamId">;
  readonly writer: Pick<AuditWriter, "writeSegment">;
  /** Called when the state changes: another reason, other segments. Must not throw. */
  readonly onState?: (state: ShipperState) => void;
  /** Called for each attempt that failed. Must not throw. */
  readonly onFailure?: (error: ClickHouseError, segment: ClosedSegment) => void;
  /** Called after a segment's rows were counted in the table and before its file is removed. Must not throw. */
  readonly onShipped?: (segment: ClosedSegment) => void;
  /** How often to look for new segments, in milliseconds. Default 250; `wake()` looks at once. */
  readonly pollMs?: number;
  /** First pause after a failure, in milliseconds; doubles up to `maxBackoffMs`. Default 200. */
  readonly minBackoffMs?: number;
  /** Longest pause between attempts, in milliseconds. Default 30,000. */
  readonly maxBackoffMs?: number;
}

interface Lane {
  readonly kind: "backlog" | "fresh";
  /** Segments under way at one time. */
  readonly inserts: number;
}

/**
 * What waits from before (an outage, an earlier process) goes in its order, beside what is closed now: neither waits for
 * the other. One fresh insert at a time: where inserts are slow, the segments that wait meanwhile become fewer and larger.
 */
const LANES: readonly Lane[] = [
  { kind: "fresh", inserts: 1 },
  { kind: "backlog", inserts: 2 },
];
/** Row bytes of the segments under way; each is in memory a few times over. One may always be. */
const MAX_BYTES_UNDER_WAY = 128 * 1024 * 1024;
/** A shutdown has not the time for long pauses. */
const MAX_DRAIN_BACKOFF_MS = 500;

const HEALTHY: ShipperState = { status: "healthy" };

/**
 * Brings closed segments into the table, for as long as it takes. A segment's file goes only after its rows were counted in
 * the table.
 *
 * A server that takes nothing holds all of them back; one segment that it does not take only that one.
 */
export class SegmentShipper {
  readonly #options: SegmentShipperOptions;
  readonly #failures = new SegmentFailures((failures) => this.#backoff(failures));
  /** Segments of this process that were given to a writer and are still here; not only the writer's to know, it may change. */
  readonly #tried = new Set<string>();
  /** Paths of those that were closed before segments got through (again). */
  #backlog = new Set<string>();
  readonly #underWay = new Map<string, { readonly segment: ClosedSegment; readonly lane: Lane["kind"] }>();
  #state: ShipperState = HEALTHY;
  #running = false;
  #draining = 0;
  #loop: Promise<void> | undefined;
  /** Ends the current pause. */
  #wake: () => void = () => undefined;
  /** Those who wait for the next change. */
  #watchers: (() => void)[] = [];

  constructor(options: SegmentShipperOptions) {
    this.#options = options;
  }

  get state(): ShipperState {
    return this.#state;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#backlog = this.#closedPaths();
    this.#loop = this.#run();
  }

  /** Looks for closed segments now. Does not cut a pause after a failure short. */
  wake(): void {
    this.#wake();
  }

  /** Tries now, also in the middle of a pause after a failure: somebody knows that the server is back. */
  retry(): void {
    this.#failures.retry();
    this.#wake();
  }

  /**
   * Closes the open segment and waits until nothing is left to ship.
   *
   * @returns true when everything that was acknowledged before the call is in the table; false after `timeoutMs`, or when
   *   all that is left are segments that will never be.
   */
  async drain(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    this.#draining++;
    try {
      await this.#options.ledger.rotate();
      const wanted = this.#closedPaths();
      this.retry();
      for (;;) {
        const left = [...this.#closedPaths()].filter((path) => wanted.has(path));
        if (left.length === 0) return true;
        if (left.every((path) => isHopeless(this.#failures.errorOf(path)))) return false;
        const rest = deadline - performance.now();
        if (rest <= 0 || !this.#running) return false;
        await this.#nextChange(rest);
      }
    } finally {
      this.#draining--;
    }
  }

  /**
   * Ends after the segments that are under way; close the writer beside it where that must not take long. What is left is
   * shipped by the next process.
   */
  async stop(): Promise<void> {
    this.#running = false;
    this.wake();
    await this.#loop;
    this.#loop = undefined;
  }

  async #run(): Promise<void> {
    const { pollMs = 250 } = this.#options;
    while (this.#running) {
      let next = this.#next();
      for (; next !== undefined; next = this.#next()) void this.#ship(next.segment, next.lane);
      // While one is under way its end is what matters; then a pause is over, or something was closed.
      await this.#pause(Math.max(1, this.#failures.pauseMs || pollMs));
    }
    while (this.#underWay.size > 0) await this.#nextChange(60_000);
    this.#changed();
  }

  /** What to ship now, beside what is under way. */
  #next(): { segment: ClosedSegment; lane: Lane["kind"] } | undefined {
    const closed = this.#options.ledger.closedSegments();
    if (this.#failures.blockedBy !== undefined) {
      const segment = this.#underWay.size > 0 ? undefined : this.#failures.probe(closed);
      return segment && { segment, lane: "backlog" };
    }
    for (const { kind, inserts } of LANES) {
      if (this.#count(kind) >= inserts) continue;
      const segment = closed.find((one) => this.#backlog.has(one.path) === (kind === "backlog") && this.#isDue(one));
      if (segment !== undefined && this.#hasRoom(segment)) return { segment, lane: kind };
    }
    return undefined;
  }

  #count(lane: Lane["kind"]): number {
    let count = 0;
    for (const one of this.#underWay.values()) if (one.lane === lane) count++;
    return count;
  }

  #isDue({ path }: ClosedSegment): boolean {
    return !this.#underWay.has(path) && this.#failures.isDue(path);
  }

  #hasRoom({ bytes }: ClosedSegment): boolean {
    if (this.#underWay.size === 0) return true;
    let sum = bytes;
    for (const { segment } of this.#underWay.values()) sum += segment.bytes;
    return sum <= MAX_BYTES_UNDER_WAY;
  }

  async #ship(segment: ClosedSegment, lane: Lane["kind"]): Promise<void> {
    const { ledger, writer, onShipped, onFailure } = this.#options;
    const { path } = segment;
    this.#underWay.set(path, { segment, lane });
    try {
      const isNew = segment.streamId === ledger.streamId && !this.#tried.has(path);
      this.#tried.add(path);
      await writer.writeSegment(segment, isNew);
      onShipped?.(segment);
      await ledger.removeSegment(segment);
      this.#tried.delete(path);
      this.#backlog.delete(path);
      if (this.#failures.succeeded(path)) this.#backlog = this.#closedPaths();
    } catch (cause) {
      const error = asError(cause);
      onFailure?.(error, segment);
      this.#failures.failed(path, error, this.#pauseFor(error));
    } finally {
      this.#underWay.delete(path);
      this.#report();
      this.#wake();
      this.#changed();
    }
  }

  /** Whether there is an engine to connect to costs nothing to ask. */
  #pauseFor(error: ClickHouseError): number | undefined {
    const isDown = error.reason === "engine_down" && error.code === "CONNECTION";
    return isDown ? (this.#options.pollMs ?? 250) : undefined;
  }

  /** Full jitter on the upper half: collectors that lost the same server do not come back in step. */
  #backoff(failures: number): number {
    const { minBackoffMs = 200, maxBackoffMs = 30_000 } = this.#options;
    const longest = this.#draining > 0 ? Math.min(maxBackoffMs, MAX_DRAIN_BACKOFF_MS) : maxBackoffMs;
    return Math.min(minBackoffMs * 2 ** Math.min(failures - 1, 30), longest) * (0.5 + Math.random() / 2);
  }

  #report(): void {
    // What fails because it is being stopped is no news.
    if (!this.#running) return;
    const before = this.#state;
    this.#state = this.#describe();
    if (key(before) !== key(this.#state)) this.#options.onState?.(this.#state);
  }

  #describe(): ShipperState {
    const stopped = this.#failures.stopped();
    const blockedBy = this.#failures.blockedBy;
    const error = blockedBy ?? stopped.at(-1)?.error;
    if (error === undefined) return HEALTHY;
    return {
      status: "degraded",
      reason: `${FAILURES[error.reason]}: ${error.message}`,
      error,
      blocked: blockedBy !== undefined,
      stopped: stopped.map(({ path }) => path),
    };
  }

  #closedPaths(): Set<string> {
    return new Set(this.#options.ledger.closedSegments().map(({ path }) => path));
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      // The log keeps what is not shipped: waiting for it is no reason to keep a process alive.
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }

  #changed(): void {
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  async #nextChange(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#watchers.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** What a log line is worth: messages differ with every attempt. */
function key(state: ShipperState): string {
  if (state.status === "healthy") return "";
  return `${state.error.reason} ${state.blocked} ${state.stopped.join()}`;
}

function asError(cause: unknown): ClickHouseError {
  if (cause instanceof ClickHouseError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new ClickHouseError("WORKER", `shipping a segment failed: ${message}`, { cause });
}
