import type { ClosedSegment, Ledger } from "@otel-audit/ledger";
import type { AuditWriter } from "./audit-writer.ts";
import { ClickHouseError } from "./errors.ts";

/** Whether segments reach the table. */
export type ShipperState =
  | { readonly status: "healthy" }
  | {
      readonly status: "degraded";
      /** What is wrong, for a person. */
      readonly reason: string;
      readonly error: ClickHouseError;
      /** Segments that are left alone until somebody looked at them, by path. */
      readonly stopped: readonly string[];
    };

/** What a {@link SegmentShipper} works with. */
export interface SegmentShipperOptions {
  /** Where the closed segments are. */
  readonly ledger: Pick<Ledger, "closedSegments" | "removeSegment" | "rotate" | "streamId">;
  readonly writer: Pick<AuditWriter, "writeSegment">;
  /** Called when the state changes, and for every segment that is stopped. Must not throw. */
  readonly onState?: (state: ShipperState) => void;
  /** Called after a segment's rows were counted in the table and before its file is removed. */
  readonly onShipped?: (segment: ClosedSegment) => void;
  /** How often to look for new segments, in milliseconds. Default 250; `wake()` looks at once. */
  readonly pollMs?: number;
  /** First pause after a failure, in milliseconds; doubles up to `maxBackoffMs`. Default 200. */
  readonly minBackoffMs?: number;
  /** Longest pause between attempts, in milliseconds. Default 30,000. */
  readonly maxBackoffMs?: number;
}

const HEALTHY: ShipperState = { status: "healthy" };

/**
 * Brings closed segments into the table, oldest first, for as long as it takes. A segment's file goes only after its rows
 * were counted in the table. A failure that may pass holds all of them back (the next one would fail as well); one that
 * is about a single segment stops only that one.
 */
export class SegmentShipper {
  readonly #options: SegmentShipperOptions;
  readonly #stopped = new Map<string, ClickHouseError>();
  /** Segments of this process that were given to a writer and are still here; not only the writer's to know, it may change. */
  readonly #tried = new Set<string>();
  #state: ShipperState = HEALTHY;
  #running = false;
  #loop: Promise<void> | undefined;
  /** Ends the current pause. */
  #wake: () => void = () => undefined;
  /** Those who wait for the next change: a pass that is over. */
  #passed: (() => void)[] = [];

  constructor(options: SegmentShipperOptions) {
    this.#options = options;
  }

  get state(): ShipperState {
    return this.#state;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#loop = this.#run();
  }

  /** Looks for closed segments now, also in the middle of a pause after a failure. */
  wake(): void {
    this.#wake();
  }

  /**
   * Closes the open segment and waits until nothing is left to ship.
   *
   * @returns true when everything that was acknowledged before the call is in the table; false after `timeoutMs`, or when a
   *   segment is stopped.
   */
  async drain(timeoutMs: number): Promise<boolean> {
    const deadline = Date.now() + timeoutMs;
    await this.#options.ledger.rotate();
    const wanted = new Set(this.#options.ledger.closedSegments().map(({ path }) => path));
    for (;;) {
      const left = this.#options.ledger.closedSegments().filter(({ path }) => wanted.has(path));
      if (left.length === 0) return true;
      if (left.every(({ path }) => this.#stopped.has(path))) return false;
      const rest = deadline - Date.now();
      if (rest <= 0 || !this.#running) return false;
      this.wake();
      await this.#nextPass(rest);
    }
  }

  /** Ends after the segment that is under way. What is left is shipped by the next process. */
  async stop(): Promise<void> {
    this.#running = false;
    this.wake();
    await this.#loop;
    this.#loop = undefined;
  }

  async #run(): Promise<void> {
    const { pollMs = 250, minBackoffMs = 200, maxBackoffMs = 30_000 } = this.#options;
    let failures = 0;
    while (this.#running) {
      const error = await this.#pass();
      failures = error === undefined ? 0 : failures + 1;
      for (const passed of this.#passed.splice(0)) passed();
      if (!this.#running) return;
      // Full jitter on the upper half: collectors that lost the same server do not come back in step.
      const backoff = Math.min(minBackoffMs * 2 ** (failures - 1), maxBackoffMs) * (0.5 + Math.random() / 2);
      await this.#pause(failures === 0 ? pollMs : backoff);
    }
  }

  /** Ships what is closed; returns the failure that holds the rest back. */
  async #pass(): Promise<ClickHouseError | undefined> {
    const { ledger, writer, onShipped } = this.#options;
    // A copy: removing shortens the ledger's own list.
    for (const segment of ledger.closedSegments().slice()) {
      if (!this.#running) return undefined;
      if (this.#stopped.has(segment.path)) continue;
      try {
        const isNew = segment.streamId === ledger.streamId && !this.#tried.has(segment.path);
        this.#tried.add(segment.path);
        await writer.writeSegment(segment, isNew);
        onShipped?.(segment);
        await ledger.removeSegment(segment);
        this.#tried.delete(segment.path);
      } catch (cause) {
        const error = asError(cause);
        if (!concernsOnlyOneSegment(error)) {
          this.#report(error);
          return error;
        }
        this.#stopped.set(segment.path, error);
        this.#report(error);
      }
    }
    this.#report(undefined);
    return undefined;
  }

  #report(error: ClickHouseError | undefined): void {
    const reason = error ?? [...this.#stopped.values()].at(-1);
    const stopped = [...this.#stopped.keys()];
    const before = this.#state;
    if (reason === undefined) {
      this.#state = HEALTHY;
    } else {
      this.#state = { status: "degraded", reason: reason.message, error: reason, stopped };
    }
    if (before.status === this.#state.status && describe(before) === describe(this.#state)) return;
    this.#options.onState?.(this.#state);
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

  async #nextPass(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#passed.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function describe(state: ShipperState): string {
  return state.status === "healthy" ? "" : `${state.error.code} ${state.reason} ${state.stopped.length}`;
}

/** Its bytes or its rows in the table are not as they should be: trying again changes nothing, other segments are fine. */
function concernsOnlyOneSegment(error: ClickHouseError): boolean {
  return error.code === "PARTIAL_SEGMENT" || error.code === "BAD_ROWS";
}

function asError(cause: unknown): ClickHouseError {
  if (cause instanceof ClickHouseError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  return new ClickHouseError("WORKER", `shipping a segment failed: ${message}`, { cause });
}
