import { AuditWriter } from "@otel-audit/exporter-clickhouse";
import { LedgerDirectory, type LedgerOptions, type LedgerShare } from "@otel-audit/ledger";
import type { Component, SupervisorContext, Topic } from "../../component.ts";
import { createSchema, resolveConnection } from "../destination.ts";
import type { ClickhouseAuditConfig } from "./config.ts";

/** What the ledger's streams share. */
export const LEDGER: Topic<LedgerShare> = { name: "ledger" };

/** What the directory and its streams are opened with. */
export function ledgerOptions(
  config: ClickhouseAuditConfig,
  { dataDir, log }: Pick<SupervisorContext, "dataDir" | "log">,
): LedgerOptions {
  const { segment, log: logLimits, window } = config;
  return {
    dir: dataDir,
    maxSegmentRows: segment.max_rows,
    maxSegmentBytes: segment.max_bytes,
    maxSegmentAgeMs: segment.max_age,
    maxLogBytes: logLimits.max_bytes,
    maxPendingBytes: logLimits.max_pending_bytes,
    windowKeys: window,
    onAlarm: (alarm) => log.error({ alarm }, "ledger alarm"),
  };
}

/** The ledger's directory: locked, recovered, and its window filled from the log and the table, before any worker appends. */
export class AuditDirectory implements Component {
  readonly #config: ClickhouseAuditConfig;
  readonly #context: SupervisorContext;
  #directory: LedgerDirectory | undefined;

  constructor(config: ClickhouseAuditConfig, context: SupervisorContext) {
    this.#config = config;
    this.#context = context;
  }

  async start(): Promise<void> {
    const connection = resolveConnection(this.#config, this.#context);
    const directory = await LedgerDirectory.open(ledgerOptions(this.#config, this.#context));
    this.#directory = directory;
    const writer = new AuditWriter(connection);
    try {
      await createSchema(this.#config);
      for await (const key of writer.recentKeys(this.#config.window)) {
        directory.window.remember(key.principal, key.recordId, key.contentHash);
      }
    } catch (error) {
      // A ClickHouse that is away must not keep records from being taken: the log is enough to start.
      this.#context.log.warn(
        { err: error },
        "ClickHouse does not answer yet; repetitions of records older than the log may be stored again",
      );
    } finally {
      await writer.close();
    }
    this.#context.tell(LEDGER, directory.share);
  }

  async shutdown(): Promise<void> {
    const directory = this.#directory;
    this.#directory = undefined;
    await directory?.close();
  }
}
