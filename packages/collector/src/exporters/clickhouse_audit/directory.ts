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

/** The ledger's directory: recovered, and its window filled from the log and the table, before any worker appends. */
export class AuditDirectory implements Component {
  readonly #config: ClickhouseAuditConfig;
  readonly #context: SupervisorContext;
  #directory: LedgerDirectory | undefined;
  /** Ends what is asked of a ClickHouse that does not answer, or its connections would keep the process alive. */
  readonly #stop = new AbortController();
  #asked: Promise<void> | undefined;

  constructor(config: ClickhouseAuditConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const directory = await LedgerDirectory.open(ledgerOptions(this.#config, this.#context));
    this.#directory = directory;
    this.#asked = this.#askTable(directory);
    const tooLong = (): void => this.#warn(directory, "ClickHouse has not answered yet, the start goes on");
    await waitAtStart(this.#asked, tooLong, this.#stop.signal);
    this.#context.tell(LEDGER, directory.share);
  }

  /** A directory that is new may belong to a table that is not: the records of another one before it. */
  async #askTable(directory: LedgerDirectory): Promise<void> {
    const { keptKeys, window } = directory;
    const { signal } = this.#stop;
    const writer = new AuditWriter(resolveConnection(this.#config, this.#context));
    const close = (): void => void writer.close();
    signal.addEventListener("abort", close, { once: true });
    try {
      await createSchema(this.#config, this.#context, signal);
      if (keptKeys) return;
      // What the log has is newer and must not give way to it.
      for await (const key of writer.recentKeys(Math.max(0, this.#config.window - window.inserted))) {
        if (signal.aborted) return;
        window.remember(key.principal, key.recordId, key.contentHash);
      }
    } catch (error) {
      if (!signal.aborted) this.#warn(directory, "ClickHouse does not answer yet", error);
    } finally {
      signal.removeEventListener("abort", close);
      await writer.close();
    }
  }

  #warn({ keptKeys }: LedgerDirectory, what: string, error?: unknown): void {
    const end = keptKeys ? "" : "; repetitions of records that only the table knows may be stored again";
    this.#context.log.warn({ err: error }, what + end);
  }

  async shutdown(): Promise<void> {
    this.#stop.abort();
    await this.#asked;
    const directory = this.#directory;
    this.#directory = undefined;
    await directory?.close();
  }
}
