import { join } from "node:path";
import { Ledger } from "@otel-audit/ledger";
import type { ClosedSegment } from "@otel-audit/ledger";
import { vi } from "vitest";
import { tempDir } from "../../../../test/support/index.ts";
import { AuditWriter } from "../audit-writer.ts";
import { EmbeddedEngine } from "../embedded/index.ts";
import type { ClickHouseError } from "../errors.ts";
import { ClickHouseHttp } from "../http.ts";
import { SegmentShipper } from "../segment-shipper.ts";
import type { ShipperState } from "../segment-shipper.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { append, auditSpan } from "./spans.ts";

/** For what has to come about. */
export const PATIENCE = { timeout: 30_000, interval: 10 };

/** The engine of all tests of a file. */
export class OneEngine {
  readonly engine: EmbeddedEngine;
  readonly http: ClickHouseHttp;
  /** Its transposing thread, which all writers of a process share, lives as long as the file. */
  readonly #writer: AuditWriter;

  private constructor(engine: EmbeddedEngine) {
    this.engine = engine;
    this.http = new ClickHouseHttp(engine.writer, 30_000);
    this.#writer = new AuditWriter(engine.writer);
  }

  static async start(): Promise<OneEngine> {
    return new OneEngine(await EmbeddedEngine.start({ dataDir: tempDir("outages-engine") }));
  }

  async stop(): Promise<void> {
    await this.#writer.close();
    await this.http.close();
    await this.engine.stop();
  }
}

/** A log, and the way of its segments to an engine, with faults in between; and all that was said about it. */
export class Shipping {
  readonly states: ShipperState[] = [];
  readonly failures: ClickHouseError[] = [];
  readonly shipped: ClosedSegment[] = [];
  /** Waited for before a segment goes to the writer. */
  before: (segment: ClosedSegment) => Promise<void> = async () => undefined;
  readonly ledger: Ledger;
  readonly one: OneEngine;
  proxy: FaultProxy;
  writer: AuditWriter;
  shipper: SegmentShipper;

  private constructor(one: OneEngine, proxy: FaultProxy, ledger: Ledger) {
    this.one = one;
    this.proxy = proxy;
    this.ledger = ledger;
    this.writer = new AuditWriter({ ...one.engine.writer, url: proxy.url }, { requestTimeoutMs: 10_000 });
    this.shipper = this.shipperWith({ minBackoffMs: 20, maxBackoffMs: 100 });
  }

  static async start(one: OneEngine): Promise<Shipping> {
    const dir = join(tempDir("outages"), "ledger");
    const ledger = await Ledger.open({ dir, maxSegmentAgeMs: 3_600_000, windowKeys: 100_000 });
    return new Shipping(one, await FaultProxy.start(one.engine.url), ledger);
  }

  async stop(): Promise<void> {
    this.proxy.always = "pass";
    this.proxy.release();
    await this.shipper.stop();
    await this.writer.close();
    await this.ledger.close();
    await this.proxy.stop();
  }

  shipperWith(pauses: { minBackoffMs: number; maxBackoffMs: number }): SegmentShipper {
    return new SegmentShipper({
      ledger: this.ledger,
      writer: {
        writeSegment: async (segment, isNew) => {
          await this.before(segment);
          await this.writer.writeSegment(segment, isNew);
        },
      },
      onState: (state) => this.states.push(state),
      onFailure: (error) => this.failures.push(error),
      onShipped: (segment) => this.shipped.push(segment),
      pollMs: 20,
      ...pauses,
    });
  }

  async addSegment(count = 3): Promise<ClosedSegment> {
    await append(
      this.ledger,
      Array.from({ length: count }, () => auditSpan()),
    );
    await this.ledger.rotate();
    const segment = this.ledger.closedSegments().at(-1);
    if (segment === undefined) throw new Error("no segment");
    return segment;
  }

  async inTable(): Promise<{ rows: number; once: number }> {
    const [row] = await this.one.http.query<{ rows: number; once: number }>(
      `SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(Sequence)) AS once FROM otel_audit.audit_events ` +
        `WHERE StreamId = '${this.ledger.streamId}'`,
    );
    return row ?? { rows: -1, once: -1 };
  }

  reasons(): string[] {
    return this.states.map((state) => (state.status === "healthy" ? "healthy" : state.error.reason));
  }

  /** Waits until nothing is left to ship and the shipper says so. What is in the table then. */
  async arrived(): Promise<{ rows: number; once: number }> {
    const isOver = (): boolean => this.ledger.closedSegments().length === 0 && this.shipper.state.status === "healthy";
    await vi.waitUntil(isOver, PATIENCE);
    return this.inTable();
  }
}
