import { AuditWriter, ClickHouseError } from "@otel-audit/exporter-clickhouse";
import {
  LedgerDirectory,
  type LedgerAlarm,
  type LedgerBound,
  type LedgerOptions,
  type LedgerShare,
} from "@otel-audit/ledger";
import type { Component, SupervisorContext, Topic } from "../../component.ts";
import { LimitedLine } from "../../limited-line.ts";
import { createSchema, resolveConnection, waitAtStart } from "../destination.ts";
import type { ClickhouseAuditConfig } from "./config.ts";

/** What the ledger's streams share. */
export const LEDGER: Topic<LedgerShare> = { name: "ledger" };

/** What the user calls the ledger's bounds. */
const NAMES: Readonly<Record<LedgerBound, string>> = {
  maxLogBytes: "log::max_bytes",
  maxPendingBytes: "log::max_pending_bytes",
  minFreeBytes: "log::min_free_bytes",
};

/** Alarms that requests can raise as often as they come, and milliseconds between two lines about each. */
const CAUSED_BY_REQUESTS = ["CONFLICT", "SYNC_FAILED"] as const;
const ALARM_EVERY_MS = 10_000;

/** What the directory and its streams are opened with. */
export function ledgerOptions(
  config: ClickhouseAuditConfig,
  { id, dataDir, log }: Pick<SupervisorContext, "id" | "dataDir" | "log">,
): LedgerOptions {
  const { segment, log: logLimits, window } = config;
  const often = new Map<LedgerAlarm["code"], LimitedLine>(
    CAUSED_BY_REQUESTS.map((code) => [code, new LimitedLine(ALARM_EVERY_MS)]),
  );
  return {
    dir: dataDir,
    locked: true,
    maxSegmentRows: segment.max_rows,
    maxSegmentBytes: segment.max_bytes,
    maxSegmentAgeMs: segment.max_age,
    maxLogBytes: logLimits.max_bytes,
    minFreeBytes: logLimits.min_free_bytes,
    maxPendingBytes: logLimits.max_pending_bytes,
    windowKeys: window,
    nameOf: (option) => `exporters::${id}::${NAMES[option]}`,
    onAlarm: (alarm) => {
      const line = often.get(alarm.code);
      const alarms = line === undefined ? 1 : line.due();
      if (alarms > 0) log.error({ alarm, alarms }, "ledger alarm");
    },
  };
}

/** Milliseconds after which the table is asked again whether it has what was shipped, and after it has not answered. */
const LOOK_EVERY_MS = 60_000;
const RETRY_MS = 5_000;

/**
 * The ledger's directory: recovered, and its window filled from the log and the table, before any worker appends. As long as
 * it is open the table is asked whether it still has what was shipped (rule O1), and what it has lost can be sent again.
 */
export class AuditDirectory implements Component {
  readonly #config: ClickhouseAuditConfig;
  readonly #context: SupervisorContext;
  #directory: LedgerDirectory | undefined;
  /** Ends what is asked of a ClickHouse that does not answer, or its connections would keep the process alive. */
  readonly #stop = new AbortController();
  #watching: Promise<void> | undefined;
  /**
   * While the table still has to be asked for the keys of its newest records: the first insertion into the window that must not
   * give way to them, for what the log has is newer.
   */
  #keysBelow: number | undefined;
  /** Its tables were created where they were missing, or somebody has done that who may. */
  #created = false;
  #warned = false;

  constructor(config: ClickhouseAuditConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const directory = await LedgerDirectory.open(ledgerOptions(this.#config, this.#context));
    this.#directory = directory;
    const { telemetry, id } = this.#context;
    telemetry.tableLosses.inc({ exporter: id }, 0);
    // A directory that is new may belong to a table that is not.
    if (!directory.keptKeys) this.#keysBelow = 0;
    const first = this.#look(directory);
    this.#watching = this.#watch(directory, first);
    const tooLong = (): void => this.#warn("ClickHouse has not answered yet, the start goes on");
    await waitAtStart(first, tooLong, this.#stop.signal);
    this.#context.tell(LEDGER, directory.share);
  }

  async #watch(directory: LedgerDirectory, first: Promise<boolean>): Promise<void> {
    for (let look = first; ; look = this.#look(directory)) {
      const answered = await look;
      if (this.#stop.signal.aborted) return;
      await directory.shipped.rung(answered ? LOOK_EVERY_MS : RETRY_MS);
    }
  }

  /** Whether ClickHouse has answered. Never rejects. */
  async #look(directory: LedgerDirectory): Promise<boolean> {
    const { signal } = this.#stop;
    if (signal.aborted) return false;
    const writer = new AuditWriter(resolveConnection(this.#config, this.#context));
    const close = (): void => void writer.close();
    signal.addEventListener("abort", close, { once: true });
    try {
      await this.#createSchema();
      await this.#findLoss(directory, writer);
      if (this.#keysBelow !== undefined) await this.#learnKeys(directory, writer, this.#keysBelow);
      this.#created = true;
      return true;
    } catch (error) {
      this.#fail("ClickHouse does not answer yet", error);
      return false;
    } finally {
      signal.removeEventListener("abort", close);
      await writer.close();
    }
  }

  /** Who may not create tables can use those that are there. */
  async #createSchema(): Promise<void> {
    if (this.#created) return;
    try {
      await createSchema(this.#config, this.#context, this.#stop.signal);
      this.#created = true;
    } catch (error) {
      if (!(error instanceof ClickHouseError) || error.reason !== "access_denied") throw error;
      this.#fail("the tables cannot be created", error);
    }
  }

  async #findLoss(directory: LedgerDirectory, writer: AuditWriter): Promise<void> {
    const { shipped } = directory;
    const row = shipped.asked;
    const loss = row && (await writer.findLoss(row));
    if (row === undefined || loss === undefined) {
      shipped.found(row);
      return;
    }
    const { telemetry, id } = this.#context;
    telemetry.tableLosses.inc({ exporter: id });
    const time = new Date(Number(row.receivedAt / 1_000_000n)).toISOString();
    const before =
      loss.newestBefore === undefined ? "nothing that is older" : `of older ones those up to ${loss.newestBefore}`;
    this.#keysBelow = await directory.forgetShipped(
      `${this.#config.database}.audit_events has lost records that were counted there: one received at ${time} ` +
        `(stream ${row.streamId}, sequence ${row.sequence}) is gone, it has ${before}. They are stored when they are sent again`,
    );
  }

  async #learnKeys({ window }: LedgerDirectory, writer: AuditWriter, below: number): Promise<void> {
    const room = Math.max(0, this.#config.window - (window.inserted - below));
    let keys = 0;
    for await (const key of writer.recentKeys(room)) {
      if (this.#stop.signal.aborted) return;
      keys++;
      window.remember(key.principal, key.recordId, key.contentHash);
    }
    this.#keysBelow = undefined;
    this.#context.log.info({ keys }, "the table's newest records are known");
  }

  /** Told once: later the streams say what is wrong. */
  #fail(what: string, error: unknown): void {
    if (!this.#warned && !this.#stop.signal.aborted) this.#warn(what, error);
    this.#warned = true;
  }

  #warn(what: string, error?: unknown): void {
    const end =
      this.#keysBelow === undefined
        ? ""
        : "; repetitions of records that only the table knows may be stored again until it does";
    this.#context.log.warn({ err: error }, what + end);
  }

  async shutdown(): Promise<void> {
    const directory = this.#directory;
    this.#directory = undefined;
    this.#stop.abort();
    directory?.shipped.ring();
    await this.#watching;
    await directory?.close();
  }
}
