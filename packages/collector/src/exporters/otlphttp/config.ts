import { z } from "zod";

export const otlphttpConfig = z.strictObject({
  /** Base URL; spans go to `<endpoint>/v1/traces`. */
  endpoint: z.url({ protocol: /^https?$/ }),
  /** Sent with every request, for example a token: `authorization: "Bearer ${env:TOKEN}"`. */
  headers: z.record(z.string(), z.string()).default({}),
  /** Costs more CPU than all the rest of the collector; worth it only where the network is the limit. */
  compression: z.enum(["none", "gzip"]).default("none"),
  /** Milliseconds for one request. */
  timeout: z.number().int().min(1).max(600_000).default(30_000),
  sending_queue: z
    .strictObject({
      /** Requests that wait; when full the oldest is dropped and counted. */
      queue_size: z.number().int().min(1).max(1_000_000).default(1_000),
      /** Bytes that wait; when full the oldest is dropped and counted. */
      max_bytes: z
        .number()
        .int()
        .min(1_024)
        .default(64 * 1024 * 1024),
      /** Requests under way at one time. */
      num_consumers: z.number().int().min(1).max(100).default(4),
    })
    .prefault({}),
  retry_on_failure: z
    .strictObject({
      /** Milliseconds before the first retry; doubled each time. */
      initial_interval: z.number().int().min(1).default(500),
      max_interval: z.number().int().min(1).default(30_000),
      /** Milliseconds after which a request is given up. */
      max_elapsed_time: z.number().int().min(0).default(300_000),
    })
    .prefault({}),
});
export type OtlphttpConfig = z.output<typeof otlphttpConfig>;
