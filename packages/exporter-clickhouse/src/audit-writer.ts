import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClickHouseSettings } from "@clickhouse/client";
import { COLUMNS } from "@otel-audit/ledger";
import type { ClosedSegment, ShippedRow } from "@otel-audit/ledger";
import type { ConnectionSource } from "./connection.ts";
import { ClickHouseError } from "./errors.ts";
import { HttpSource } from "./http-source.ts";
import type { HttpTarget } from "./http-source.ts";
import type { Compression } from "./http.ts";
import { readKeys } from "./record-keys.ts";
import type { RecordKey } from "./record-keys.ts";
import { quoteName } from "./schema.ts";
import { checkTable } from "./table-check.ts";
import { findTableLoss } from "./table-loss.ts";
import type { TableLoss } from "./table-loss.ts";
import { Transposer } from "./transposer.ts";

/** How an {@link AuditWriter} writes. */
export interface AuditWriterOptions {
  /** Compression of the insert's body. Default: `none` to a loopback address, else `zstd`. */
  readonly compression?: Compression;
  /** How long one request may take, in milliseconds. Default 120,000; 1,000 to 3,600,000. */
  readonly requestTimeoutMs?: number;
  /** How long to wait for an earlier insert of the same segment to end, in milliseconds. Default 60,000. */
  readonly settleTimeoutMs?: number;
  /** Cluster whose tables `applySchema` made: inserts then wait for a quorum and counts read what it holds. */
  readonly cluster?: string;
  /**
   * Called when the server answers and has no `audit_events`: creates it, where this process may. Default: an error that
   * says so.
   */
  readonly createTables?: () => Promise<void>;
}

/** Inserts of one segment in one call of `writeSegment` that may answer success and yet add nothing. */
const MAX_SILENT_LOSSES = 3;

/**
 * One segment is one block in one part: the engine's own limits, written out because a server may have others, and because
 * a block that is split is neither atomic nor safe to repeat.
 */
const ONE_BLOCK: ClickHouseSettings = {
  async_insert: 0,
  max_insert_block_size: "1048449",
  min_insert_block_size_rows: "1048449",
  min_insert_block_size_bytes: "268402944",
  max_insert_threads: "1",
  // A column of another type would store other values than were hashed.
  input_format_native_allow_types_conversion: 0,
  // Every column is in the block: there is nothing to look up for one that is not.
  input_format_defaults_for_omitted_fields: 0,
};

/** On replicas: an answer means a majority has the block, and a count sees what such an answer promised. */
const QUORUM: ClickHouseSettings = {
  insert_quorum: "auto",
  insert_quorum_parallel: 0,
  distributed_foreground_insert: 1,
};

/**
 * Writes closed segments into `audit_events`, each exactly once.
 *
 * The table is the truth, not the answer to an insert: the deduplication token alone loses data when the server dies
 * between writing the token and the part, and an answer that got lost says nothing. So the rows of
 * (stream, first sequence … last) are counted after every insert, and before every one that is not the first ever.
 *
 * A repeated insert has the token of the one before: an earlier copy that is still on its way to the server, where nobody
 * sees it yet, then comes to nothing when it arrives. Only a token that is spent (answered with success, no insert running,
 * no row there) gives way to the next, and a late copy under a spent token adds nothing either.
 */
export class AuditWriter {
  readonly #source: HttpSource;
  readonly #options: AuditWriterOptions;
  /** Tokens that are spent, by the hash of a segment that was tried. */
  readonly #spent = new Map<string, number>();
  /** Whose table has been looked at. */
  #checked: HttpTarget | undefined;
  #transposer: Transposer | undefined;

  /** @throws ClickHouseError `INVALID_OPTION` */
  constructor(connection: ConnectionSource, options: AuditWriterOptions = {}) {
    const timeout = options.requestTimeoutMs ?? 120_000;
    if (!(timeout >= 1_000 && timeout <= 3_600_000)) {
      throw new ClickHouseError("INVALID_OPTION", `requestTimeoutMs ${timeout}: 1000 to 3600000 are allowed`);
    }
    this.#source = new HttpSource(connection, timeout, options.compression);
    this.#options = options;
    this.#transposer = Transposer.acquire();
  }

  /**
   * Resolves when the table holds every row of the segment. Calling it again, from this process or a later one, is safe at
   * any time.
   *
   * @param isNew no other process has ever tried to insert it: it is of the caller's own stream. Its first insert then needs
   *   no look at what earlier ones did.
   * @throws ClickHouseError; `PARTIAL_SEGMENT` when the table holds some or too many of the rows, which one block in one
   *   partition cannot bring about: nothing is written then, and somebody has to look.
   */
  async writeSegment(segment: ClosedSegment, isNew = false): Promise<void> {
    try {
      await this.#checkTable();
      await this.#write(segment, isNew && !this.#spent.has(segment.hash));
    } catch (error) {
      // Whoever changes the table next may have repaired it, or broken it: it is looked at again, by name.
      if (error instanceof ClickHouseError && error.code === "SCHEMA") this.#checked = undefined;
      throw error;
    }
  }

  async #write(segment: ClosedSegment, isFirst: boolean): Promise<void> {
    if (!isFirst) {
      // In this order: what runs now may be there a moment later.
      await this.#waitForEarlierInserts(segment);
      if (await this.#isStored(segment)) return;
    }
    for (let loss = 0; loss < MAX_SILENT_LOSSES; loss++) {
      const spent = this.#spent.get(segment.hash) ?? 0;
      this.#spent.set(segment.hash, spent);
      await this.#insert(segment, spent);
      if (await this.#isStored(segment)) return;
      // The token was known: by an insert that is about to be visible, or by one that died after it wrote the token.
      await this.#waitForEarlierInserts(segment);
      if (await this.#isStored(segment)) return;
      this.#spent.set(segment.hash, spent + 1);
    }
    throw new ClickHouseError(
      "NOT_STORED",
      `${segment.path}: ${MAX_SILENT_LOSSES} inserts were answered with success, audit_events holds none of its rows`,
    );
  }

  /**
   * Keys of the newest records, oldest first, for the ledger's window of known records.
   *
   * @param limit how many at least, if there are that many. It may be more by what came in within the same minute.
   */
  recentKeys(limit: number): AsyncIterable<RecordKey> {
    const { http, database } = this.#source.target();
    return readKeys(http, `${database}.audit_events`, limit);
  }

  /**
   * Whether the table has lost a row that was counted there; undefined: it has it, or it may have removed it by its TTL.
   *
   * @throws ClickHouseError
   */
  findLoss(row: ShippedRow): Promise<TableLoss | undefined> {
    return findTableLoss(this.#source.target(), row, this.#readSettings());
  }

  /** Whether the server answers and takes the credential. Does not throw. */
  async ping(): Promise<{ success: true } | { success: false; error: ClickHouseError }> {
    try {
      return await this.#source.target().http.ping();
    } catch (error) {
      if (error instanceof ClickHouseError) return { success: false, error };
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#transposer === undefined) return;
    this.#transposer = undefined;
    await Transposer.release();
    await this.#source.close();
  }

  /** Once for each server, and again after it did not take the rows. */
  async #checkTable(): Promise<void> {
    const target = this.#source.target();
    if (this.#checked === target) return;
    const { createTables } = this.#options;
    if (!(await checkTable(target))) {
      await createTables?.();
      if (createTables === undefined || !(await checkTable(target))) {
        throw new ClickHouseError(
          "SCHEMA",
          `${target.database}.audit_events does not exist, or the user may not see it: apply the schema there`,
        );
      }
    }
    this.#checked = target;
  }

  async #isStored(segment: ClosedSegment): Promise<boolean> {
    if (segment.count === 0) return true;
    const last = segment.firstSequence + BigInt(segment.count) - 1n;
    const { http, database } = this.#source.target();
    const [row] = await http.query<{ rows: string }>(
      `SELECT toString(count()) AS rows FROM ${database}.audit_events WHERE StreamId = {stream:UUID} ` +
        `AND Sequence BETWEEN {first:UInt64} AND {last:UInt64} AND _partition_id = {partition:String}`,
      this.#readSettings(),
      {
        stream: segment.streamId,
        first: String(segment.firstSequence),
        last: String(last),
        partition: segment.partition,
      },
    );
    const rows = Number(row?.rows ?? Number.NaN);
    if (rows === segment.count) {
      this.#spent.delete(segment.hash);
      return true;
    }
    if (rows === 0) return false;
    throw new ClickHouseError(
      "PARTIAL_SEGMENT",
      `${segment.path}: ${database}.audit_events holds ${rows} of its ${segment.count} rows ` +
        `(stream ${segment.streamId}, sequence ${segment.firstSequence} to ${last})`,
    );
  }

  #readSettings(): ClickHouseSettings {
    return this.#options.cluster === undefined ? {} : { select_sequential_consistency: "1" };
  }

  async #insert(segment: ClosedSegment, spent: number): Promise<void> {
    const transposer = this.#transposer;
    if (transposer === undefined) throw new ClickHouseError("CLOSED", "the writer was closed");
    const { compression } = this.#source.target();
    const block = await transposer.segment(segment.path, segment.count, segment.hash, compression);
    // Asked again: transposing takes a while, and the engine may have been started anew meanwhile.
    const { http, database } = this.#source.target();
    await http.insertNative({
      table: `${database}.audit_events`,
      columns: COLUMNS.map(({ name }) => name),
      block,
      compression,
      settings: {
        ...ONE_BLOCK,
        ...(this.#options.cluster === undefined ? {} : QUORUM),
        insert_deduplicate: 1,
        insert_deduplication_token: spent === 0 ? segment.hash : `${segment.hash}:${spent}`,
      },
      queryId: `${queryPrefix(segment)}${spent}-${randomUUID()}`,
    });
    // Only after success: a socket of an insert that failed may still hold on to it.
    transposer.reuse(block);
  }

  /** An insert whose connection broke may still be running, also one of a process that is gone. */
  async #waitForEarlierInserts(segment: ClosedSegment): Promise<void> {
    const { cluster, settleTimeoutMs = 60_000 } = this.#options;
    const processes =
      cluster === undefined
        ? "system.processes"
        : `clusterAllReplicas(${quoteName("cluster", cluster)}, system.processes)`;
    // The engine may have wrapped the insert into a query of its own, under its own id: the token is in the text then.
    const sql =
      `SELECT toString(count()) AS running FROM ${processes} WHERE query_kind = 'Insert' ` +
      `AND (startsWith(query_id, '${queryPrefix(segment)}') OR position(query, '${segment.hash}') > 0)`;
    const deadline = performance.now() + settleTimeoutMs;
    for (let pause = 50; ; pause = Math.min(pause * 2, 1_000)) {
      const [row] = await this.#source.target().http.query<{ running: string }>(sql);
      if (row?.running === "0") return;
      if (performance.now() > deadline) {
        throw new ClickHouseError(
          "OVERLOADED",
          `${segment.path}: an earlier insert of it is still running after ${settleTimeoutMs} ms`,
        );
      }
      await sleep(pause);
    }
  }
}

function queryPrefix(segment: ClosedSegment): string {
  return `otel-audit-${segment.hash}-`;
}
