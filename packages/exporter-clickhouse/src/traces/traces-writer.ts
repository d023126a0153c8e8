import { randomUUID } from "node:crypto";
import type { ConnectionSource } from "../connection.ts";
import { ClickHouseError } from "../errors.ts";
import { HttpSource } from "../http-source.ts";
import type { Compression } from "../http.ts";
import { Transposer } from "../transposer.ts";
import { keepBusiestDays } from "./busiest-days.ts";
import { TRACE_COLUMNS } from "./columns.ts";
import { TraceRows } from "./trace-rows.ts";

/** How a {@link TracesWriter} writes. */
export interface TracesWriterOptions {
  /** Compression of the insert's body. Default: `none` to a loopback address, else `zstd`. */
  readonly compression?: Compression;
  /** How long one insert may take, in milliseconds. Default 30,000. */
  readonly requestTimeoutMs?: number;
}

/** Days of the producers' clocks in one insert. */
const MAX_DAYS = 200;

/**
 * Writes debug spans into upstream's `otel_traces`, with the texts that upstream's exporter writes, so that its dashboards
 * and queries go on working.
 *
 * Not exactly once: a repeated insert repeats its spans, as with upstream's exporter.
 */
export class TracesWriter {
  readonly #source: HttpSource;
  readonly #rows = new TraceRows();
  #transposer: Transposer | undefined;

  /** @throws ClickHouseError `INVALID_OPTION` */
  constructor(connection: ConnectionSource, options: TracesWriterOptions = {}) {
    this.#source = new HttpSource(connection, options.requestTimeoutMs ?? 30_000, options.compression);
    this.#transposer = Transposer.acquire();
  }

  /**
   * Inserts the spans of one request. Every call makes a part in the table: gather a few seconds of spans first (requests
   * laid one behind the other are one request).
   *
   * @param request an ExportTraceServiceRequest in protobuf. Free to reuse as soon as the call returns its promise.
   * @returns how many spans were inserted; broken ones are left out, and those beyond the 200 busiest days.
   * @throws OtlpError when the request's framing is broken; ClickHouseError when the insert fails.
   */
  async insert(request: Uint8Array): Promise<number> {
    const transposer = this.#transposer;
    if (transposer === undefined) throw new ClickHouseError("CLOSED", "the writer was closed");
    const { rows, offsets } = keepBusiestDays(this.#rows.encode(request), MAX_DAYS);
    const count = offsets.length - 1;
    if (count === 0) return 0;
    const { http, database, compression } = this.#source.target();
    const block = await transposer.rows(rows, offsets, TRACE_COLUMNS, compression);
    await http.insertNative({
      table: `${database}.otel_traces`,
      columns: TRACE_COLUMNS.map(({ name }) => name),
      block,
      compression,
      settings: {
        async_insert: 0,
        max_partitions_per_insert_block: String(MAX_DAYS),
      },
      queryId: `otel-audit-traces-${randomUUID()}`,
    });
    return count;
  }

  async close(): Promise<void> {
    if (this.#transposer === undefined) return;
    this.#transposer = undefined;
    await Transposer.release();
    await this.#source.close();
  }
}
