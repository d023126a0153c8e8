import { LIMITS } from "@otel-audit/ledger";
import { z } from "zod";
import { duration } from "../../config/duration.ts";
import { ONE_DESTINATION, destinationShape, oneDestination } from "../destination.ts";

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const clickhouseAuditConfig = z
  .strictObject({
    ...destinationShape,
    /** A segment is one insert. ClickHouse splits a block above 1,048,449 rows or 268 MB, which would break "once". */
    segment: z
      .strictObject({
        max_rows: z.number().int().min(1).max(250_000).default(250_000),
        max_bytes: z
          .number()
          .int()
          .min(LIMITS.record)
          .max(64 * MIB)
          .default(64 * MIB),
        /** Then a segment with records is closed and inserted: how old the newest row of the table is. */
        max_age: duration({ min: 10, max: HOUR_MS }).prefault("1s"),
      })
      .prefault({}),
    log: z
      .strictObject({
        /** Bytes of records that wait on disk for ClickHouse; beyond it requests are refused with 503. */
        max_bytes: z
          .number()
          .int()
          .min(MIB)
          .default(16 * 1024 * MIB),
        /**
         * Bytes that stay free on the log's disk; with less, requests are refused with 503, so that what is acknowledged can still
         * be inserted and removed. Absent: 256 MiB, or a twentieth of a disk where that is less; 0: none.
         */
        min_free_bytes: z.number().int().min(0).optional(),
        /** Bytes of records that wait in memory for the disk; beyond it requests are refused with 503. */
        max_pending_bytes: z
          .number()
          .int()
          .min(MIB)
          .max(1024 * MIB)
          .default(256 * MIB),
      })
      .prefault({}),
    /** Record keys remembered to find repetitions, by all workers together; 25 to 33 bytes each. */
    window: z.number().int().min(1).max(100_000_000).default(8_000_000),
    /** For so long a shutdown waits for ClickHouse; what is not inserted by then stays in the log for the next start. */
    shutdown_timeout: duration({ min: 0, max: 10 * MINUTE_MS }).prefault("10s"),
  })
  .refine(oneDestination, ONE_DESTINATION);
export type ClickhouseAuditConfig = z.output<typeof clickhouseAuditConfig>;
