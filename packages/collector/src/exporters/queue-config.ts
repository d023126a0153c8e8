import { z } from "zod";

/** What every queue of debug telemetry is bounded by, in all workers together. */
export const queueShape = {
  /** Requests that wait; when full the oldest is dropped and counted. */
  queue_size: z.number().int().min(1).max(1_000_000).default(1_000),
  /** Bytes that wait; when full the oldest is dropped and counted. */
  max_bytes: z
    .number()
    .int()
    .min(1_024)
    .default(64 * 1024 * 1024),
};
