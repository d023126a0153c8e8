import { setTimeout as sleep } from "node:timers/promises";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { Ledger, LedgerError } from "@otel-audit/ledger";
import { encodeSpan, frameSpans, scanTraces, SPAN_AUDIT } from "@otel-audit/otlp";
import type { ClickHouseConnection } from "../connection.ts";
import { ClickHouseError } from "../errors.ts";
import { SegmentShipper } from "../segment-shipper.ts";
import type { ShipperState } from "../segment-shipper.ts";
import { toAttributes, toSpanData } from "./convert-span.ts";
import { TableConnection } from "./table-connection.ts";
import { untraced } from "./untraced.ts";

/** What an {@link AuditSink} is made of. */
interface AuditSinkOptions {
  readonly clickhouse: ClickHouseConnection | "embedded";
  readonly dataDir: string;
  readonly onState: ((state: ShipperState) => void) | undefined;
  readonly maxPendingSpans: number;
}

type Resource = ReadableSpan["resource"];
type Scope = ReadableSpan["instrumentationScope"];

/** Spans of one resource and scope, encoded, on their way to the disk. */
interface Batch {
  readonly resource: Resource;
  readonly scope: Scope;
  readonly spans: Uint8Array[];
}

interface Opened {
  readonly ledger: Ledger;
  readonly shipper: SegmentShipper;
}

/** Nobody behind an in-process exporter was authenticated: its records say what the process says. */
const FACTS = { provenance: "asserted", principal: "", tenantId: "" } as const;

const MAX_BACKOFF_MS = 5_000;

/** The collector's pipeline in this process: spans to rows to log (synced) to segments to the table. */
export class AuditSink {
  readonly #options: AuditSinkOptions;
  readonly #connection: TableConnection;
  /** What came in during this turn of the event loop; written with one sync. */
  #gathering: Batch[] = [];
  #gathered: Promise<void> | undefined;
  readonly #writing = new Set<Promise<void>>();
  #pendingSpans = 0;
  /** First loss that no `flush` has reported yet. */
  #failure: Error | undefined;
  #opened: Promise<Opened> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: AuditSinkOptions) {
    this.#options = options;
    this.#connection = new TableConnection(options.clickhouse, options.dataDir);
  }

  /**
   * Takes spans over, as they are now.
   *
   * @returns resolves when they are on disk; rejects with ClickHouseError `OVERLOADED` when too many spans wait for the
   *   disk already, with `CLOSED` after `close`, or with the ledger's error. A rejection is also reported by the next
   *   `flush`.
   */
  add(spans: readonly ReadableSpan[]): Promise<void> {
    const refusal = this.#refusal(spans.length);
    if (refusal !== undefined) {
      this.#failure ??= refusal;
      return Promise.reject(refusal);
    }
    this.#pendingSpans += spans.length;
    for (const span of spans) this.#gather(span);
    return (this.#gathered ??= this.#writeAfterThisTurn());
  }

  /**
   * Resolves when all that was added is on disk.
   *
   * @throws what kept spans from it since the last call; they are lost.
   */
  async flush(): Promise<void> {
    await this.settled();
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Resolves when nothing that was added is on its way to the disk any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#writing);
  }

  /** Brings what is on disk to the table as far as `timeoutMs` allows; the rest is the next process's. */
  close(timeoutMs: number): Promise<void> {
    return (this.#closed ??= this.#close(timeoutMs));
  }

  async #close(timeoutMs: number): Promise<void> {
    await this.settled();
    if (this.#opened !== undefined) {
      const { ledger, shipper } = await this.#opened;
      await shipper.drain(timeoutMs);
      await shipper.stop();
      await ledger.close();
    }
    await this.#connection.close();
    await this.flush();
  }

  #gather(span: ReadableSpan): void {
    const { resource, instrumentationScope: scope } = span;
    let batch = this.#gathering.find((one) => one.resource === resource && one.scope === scope);
    if (batch === undefined) {
      batch = { resource, scope, spans: [] };
      this.#gathering.push(batch);
    }
    batch.spans.push(encodeSpan(toSpanData(span)));
  }

  #refusal(spans: number): ClickHouseError | undefined {
    if (this.#closed !== undefined) return new ClickHouseError("CLOSED", "the audit exporter was shut down");
    const { maxPendingSpans } = this.#options;
    if (this.#pendingSpans + spans <= maxPendingSpans) return undefined;
    return new ClickHouseError(
      "OVERLOADED",
      `maxPendingSpans ${maxPendingSpans}: ${this.#pendingSpans} audit spans wait for the disk`,
    );
  }

  #writeAfterThisTurn(): Promise<void> {
    const writing = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      this.#gathered = undefined;
      return this.#write(this.#gathering.splice(0));
    });
    this.#writing.add(writing);
    writing.then(
      () => this.#writing.delete(writing),
      (cause: unknown) => {
        this.#writing.delete(writing);
        this.#failure ??= cause instanceof Error ? cause : new Error(String(cause));
      },
    );
    return writing;
  }

  async #write(batches: readonly Batch[]): Promise<void> {
    try {
      const { ledger, shipper } = await this.#open();
      await Promise.all(batches.map((batch) => this.#append(ledger, batch)));
      shipper.wake();
    } finally {
      for (const { spans } of batches) this.#pendingSpans -= spans.length;
    }
  }

  /** The SDK does not repeat a failed export: what may pass is tried again here, until the exporter is shut down. */
  async #append(ledger: Ledger, batch: Batch): Promise<void> {
    const { resource, scope, spans } = batch;
    if (resource.asyncAttributesPending === true) await resource.waitForAsyncAttributes?.();
    const request = frameSpans(toAttributes(resource.attributes), { name: scope.name, version: scope.version }, spans);
    const index = scanTraces(request);
    for (let pause = 20; ; pause = Math.min(pause * 2, MAX_BACKOFF_MS)) {
      try {
        const { rejected } = await ledger.append(index, SPAN_AUDIT, FACTS);
        if (rejected.length === 0) return;
        throw new ClickHouseError("BAD_ROWS", `${rejected.length} audit spans were rejected: ${rejected[0]?.reason}`);
      } catch (error) {
        if (!(error instanceof LedgerError) || !error.retryable || this.#closed !== undefined) throw error;
        await sleep(pause);
      }
    }
  }

  #open(): Promise<Opened> {
    return (this.#opened ??= this.#openNow().catch((error: unknown) => {
      // A lock goes away, a folder gets its rights back: the next spans try again.
      this.#opened = undefined;
      throw error;
    }));
  }

  async #openNow(): Promise<Opened> {
    const { dataDir, onState } = this.#options;
    const ledger = await Ledger.open({ dir: dataDir, onSegmentClosed: () => shipper.wake() });
    const shipper: SegmentShipper = new SegmentShipper({
      ledger,
      writer: this.#connection,
      ...(onState === undefined ? {} : { onState }),
    });
    // Our own traffic is neither the application's telemetry nor its agents' doing.
    await untraced(() => shipper.start());
    return { ledger, shipper };
  }
}
