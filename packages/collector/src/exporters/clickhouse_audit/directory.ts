import { AuditWriter } from "@otel-audit/exporter-clickhouse";
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

/** The ledger's directory: recovered, and its window filled from the log and the table, before any worker appends. */
export class AuditDirectory implements Component {
  readonly #config: ClickhouseAuditConfig;
  readonly #context: SupervisorContext;
  #directory: LedgerDirectory | undefined;

  constructor(config: ClickhouseAuditConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const directory = await LedgerDirectory.open(ledgerOptions(this.#config, this.#context));
    this.#directory = directory;
    await waitAtStart(this.#askTable(directory));
    this.#context.tell(LEDGER, directory.share);
  }

  /** A directory that is new may belong to a table that is not: the records of another one before it. */
  async #askTable({ keptKeys, window }: LedgerDirectory): Promise<void> {
    const writer = new AuditWriter(resolveConnection(this.#config, this.#context));
    try {
      await createSchema(this.#config);
      if (keptKeys) return;
      // What the log has is newer and must not give way to it.
      for await (const key of writer.recentKeys(Math.max(0, this.#config.window - window.inserted))) {
        if (this.#directory === undefined) return;
        window.remember(key.principal, key.recordId, key.contentHash);
      }
    } catch (error) {
      const what = keptKeys ? "" : "; repetitions of records of an earlier data directory may be stored again";
      this.#context.log.warn({ err: error }, `ClickHouse does not answer yet${what}`);
    } finally {
      await writer.close();
    }
  }

  async shutdown(): Promise<void> {
    const directory = this.#directory;
    this.#directory = undefined;
    await directory?.close();
  }
}
