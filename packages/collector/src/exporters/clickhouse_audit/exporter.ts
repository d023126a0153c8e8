import { setImmediate } from "node:timers/promises";
import { AuditWriter, SegmentShipper, type ShipperState } from "@otel-audit/exporter-clickhouse";
import { Ledger, LedgerError, type CollectorFacts } from "@otel-audit/ledger";
import { SPAN_AUDIT, type SpanIndex } from "@otel-audit/otlp";
import type { CreateContext, Exporter, Rejection } from "../../component.ts";
import { CollectorError } from "../../errors.ts";
import { partEnd } from "../../parts.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { createSchema, resolveConnection } from "../destination.ts";
import type { ClickhouseAuditConfig } from "./config.ts";
import { LEDGER, ledgerOptions } from "./directory.ts";

/** What is known about a sender when no audit processor said more: it asserts who it is. */
const ASSERTED: CollectorFacts = { provenance: "asserted", principal: "", tenantId: "" };

/** To stop what is under way, and to close the last segment. */
const STOP_MS = 15_000;

/**
 * So long after the last refusal the health says that records are refused. Not until the next success: where a load balancer
 * goes by the health, none would come.
 */
const REFUSING_MS = 5_000;

/** Audit spans into the ledger (acknowledged when they are on disk) and from there, segment by segment, into ClickHouse. */
export class ClickhouseAuditExporter implements Exporter {
  readonly #config: ClickhouseAuditConfig;
  readonly #context: CreateContext;
  #ledger: Ledger | undefined;
  #writer: AuditWriter | undefined;
  #shipper: SegmentShipper | undefined;
  /** What is wrong, by where. */
  readonly #problems = new Map<"table" | "disk" | "refused", string>();
  #refusing: NodeJS.Timeout | undefined;

  constructor(config: ClickhouseAuditConfig, context: CreateContext) {
    this.#config = config;
    this.#context = context;
  }

  get shutdownMs(): number {
    return this.#config.shutdown_timeout + STOP_MS;
  }

  async start(): Promise<void> {
    const { telemetry, id } = this.#context;
    this.#writer = new AuditWriter(resolveConnection(this.#config, this.#context), {
      // A server that was away at the start may come without tables.
      ...(this.#config.cluster !== undefined && { cluster: this.#config.cluster }),
      ...(this.#config.create_schema && { createTables: () => this.#createTables() }),
    });
    this.#ledger = await this.#openLedger();
    this.#shipper = new SegmentShipper({
      ledger: this.#ledger,
      writer: this.#writer,
      onState: (state) => this.#report(state),
      onFailure: ({ reason }) => telemetry.exportFailures.inc({ exporter: id, reason }),
      onShipped: ({ count }) => telemetry.sent.traces.inc({ exporter: id }, count),
    });
    this.#shipper.start();
    this.#observe(this.#ledger);
  }

  /** Another one may have had what was shipped before: it is asked before anything is in it. */
  async #createTables(): Promise<void> {
    this.#ledger?.doubtTable();
    await createSchema(this.#config, this.#context);
  }

  async consume(batch: TraceBatch): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const labels = { exporter: id };
    const { index } = batch;
    const { auditCount } = index;
    try {
      if (!this.#ledger) throw new CollectorError("UNAVAILABLE", `${id} is not running`);
      return await this.#append(this.#ledger, index, batch.facts ?? ASSERTED);
    } catch (error) {
      telemetry.refusedRecords.inc(labels, auditCount);
      this.#onRefusal(error);
      throw error;
    }
  }

  /** When a later part is refused the whole request comes again, and the window knows the parts that were stored. */
  async #append(ledger: Ledger, index: SpanIndex, facts: CollectorFacts): Promise<readonly Rejection[]> {
    const { telemetry, id } = this.#context;
    const labels = { exporter: id };
    const rejections: Rejection[] = [];
    for (let from = 0, to: number; from < index.count; from = to) {
      // A part of duplicates alone waits for no disk.
      if (from > 0) await setImmediate();
      to = partEnd(index, from);
      const result = await ledger.append(index, SPAN_AUDIT, facts, from, to);
      telemetry.records.inc(labels, result.accepted);
      if (result.duplicates > 0) telemetry.duplicates.inc(labels, result.duplicates);
      if (result.conflicts > 0) telemetry.conflicts.inc(labels, result.conflicts);
      for (const { reason } of result.rejected) rejections.push({ spans: 1, reason });
    }
    return rejections;
  }

  async drain(timeoutMs: number): Promise<boolean> {
    return this.#shipper?.drain(timeoutMs) ?? true;
  }

  async shutdown(): Promise<void> {
    const ledger = this.#ledger;
    const shipper = this.#shipper;
    const writer = this.#writer;
    this.#ledger = this.#shipper = this.#writer = undefined;
    clearTimeout(this.#refusing);
    // Whatever fails, the rest is closed as well.
    try {
      const drained = await shipper?.drain(this.#config.shutdown_timeout);
      if (drained === false)
        this.#context.log.warn("records wait in the log for the next start: ClickHouse did not take them in time");
    } finally {
      try {
        // A server that stalls must not hold up the end: an insert that is cut off is counted at the next start.
        const stopped = shipper?.stop();
        await writer?.close();
        await stopped;
      } finally {
        await ledger?.close();
      }
    }
  }

  #report(state: ShipperState): void {
    const { log, telemetry, id } = this.#context;
    // Whatever is there after an outage may be empty, or an older copy.
    this.#ledger?.doubtTable();
    telemetry.exportDegraded.reset();
    if (state.status === "healthy") {
      this.#setProblem("table", undefined);
      log.info("segments reach ClickHouse again");
      return;
    }
    const { reason, error, blocked, stopped } = state;
    const what = blocked ? "segments wait on disk" : `${stopped.length} segments wait on disk, the others go on`;
    telemetry.exportDegraded.set({ exporter: id, reason: error.reason }, 1);
    this.#setProblem("table", `${what}: ${reason}`);
    log.error({ reason: error.reason, serverCode: error.serverCode, stopped }, `${what}: ${reason}`);
  }

  #onLowSpace(low: string | undefined): void {
    this.#setProblem("disk", low && `records are refused: ${low}`);
    if (low === undefined) this.#context.log.info("the log's disk has room again");
    else this.#context.log.error(`records are refused: ${low}`);
  }

  /** One that is only busy is well. */
  #onRefusal(error: unknown): void {
    if (!(error instanceof LedgerError) || (error.code !== "LOG_FULL" && error.code !== "IO")) return;
    if (this.#refusing) {
      this.#refusing.refresh();
      return;
    }
    if (!this.#problems.has("disk")) this.#setProblem("refused", `records are refused: ${error.message}`);
    this.#refusing = setTimeout(() => {
      this.#refusing = undefined;
      this.#setProblem("refused", undefined);
    }, REFUSING_MS).unref();
  }

  #setProblem(where: "table" | "disk" | "refused", problem: string | undefined): void {
    if (problem === undefined) this.#problems.delete(where);
    else this.#problems.set(where, problem);
    const { health, id } = this.#context;
    health.set(id, this.#problems.size === 0 ? undefined : [...this.#problems.values()].join("; "));
  }

  #openLedger(): Promise<Ledger> {
    const share = this.#context.told(LEDGER);
    if (!share) throw new CollectorError("INTERNAL", `${this.#context.id}: the supervisor has not opened the ledger`);
    const options = {
      ...ledgerOptions(this.#config, this.#context),
      onSegmentClosed: () => this.#shipper?.wake(),
      onLowSpace: (low: string | undefined) => this.#onLowSpace(low),
    };
    return Ledger.join(options, share, this.#context.worker.index);
  }

  #observe(ledger: Ledger): void {
    const { telemetry, id } = this.#context;
    const labels = { exporter: id };
    // A series that is not there cannot be told from one that nothing has raised yet.
    const { records, duplicates, conflicts, refusedRecords, sent } = telemetry;
    for (const counter of [records, duplicates, conflicts, refusedRecords, sent.traces]) counter.inc(labels, 0);
    telemetry.observe("otel_audit_log_bytes", "Bytes of records in the log", () => ledger.stats().logBytes, labels);
    telemetry.observe(
      "otel_audit_segment_backlog",
      "Closed segments that are not in ClickHouse yet",
      () => ledger.stats().segments,
      labels,
    );
    telemetry.observe(
      "otel_audit_oldest_unexported_seconds",
      "Age of the oldest record that is not in ClickHouse yet",
      () => ledger.stats().oldestUnexportedMs / 1000,
      labels,
      "max",
    );
  }
}
