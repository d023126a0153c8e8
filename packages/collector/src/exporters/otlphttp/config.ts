import { z } from "zod";
import { SIGNALS, type Signal } from "../../component.ts";
import { duration } from "../../config/duration.ts";
import { clientTlsConfig } from "../../config/tls.ts";
import { queueShape } from "../queue-config.ts";

const HOUR_MS = 3_600_000;
const url = z.url({ protocol: /^https?$/ });

const settings = z.strictObject({
  /** Base URL; `/v1/traces`, `/v1/logs`, `/v1/metrics` is appended. */
  endpoint: url.optional(),
  /** Whole URL for one signal, instead of what `endpoint` gives. */
  traces_endpoint: url.optional(),
  logs_endpoint: url.optional(),
  metrics_endpoint: url.optional(),
  /** Sent with every request, for example a token: `authorization: "Bearer ${env:TOKEN}"`. */
  headers: z.record(z.string(), z.string()).default({}),
  /** Costs more CPU than all the rest of the collector; worth it only where the network is the limit. */
  compression: z.enum(["none", "gzip"]).default("none"),
  /** Of the endpoints that are https. */
  tls: clientTlsConfig.optional(),
  /** For one request. */
  timeout: duration({ min: 1, max: 600_000 }).prefault("30s"),
  /** One for each signal. */
  sending_queue: z
    .strictObject({
      /** Always on: without it a slow backend would delay the audit side. */
      enabled: z
        .literal(true, "cannot be turned off: without a queue a slow backend would delay audit records")
        .default(true),
      ...queueShape,
      /** Requests under way at one time. */
      num_consumers: z.number().int().min(1).max(100).default(4),
      /** Protobuf requests go out as one: each costs the same, however small it is. */
      batch: z
        .strictObject({
          /** What waits for others at most so long. */
          flush_timeout: duration({ min: 0, max: 60_000 }).prefault("200ms"),
          /** In bytes; so many go out at once, and a larger request alone. 0: each goes alone, at once. */
          max_size: z
            .number()
            .int()
            .min(0)
            .max(64 * 1024 * 1024)
            .default(1024 * 1024),
        })
        .prefault({}),
    })
    .prefault({}),
  retry_on_failure: z
    .strictObject({
      /** False: a request that fails is given up at once. */
      enabled: z.boolean().default(true),
      /** Before the first retry; doubled each time. */
      initial_interval: duration({ min: 1, max: HOUR_MS }).prefault("500ms"),
      max_interval: duration({ min: 1, max: HOUR_MS }).prefault("30s"),
      /** After it a request is given up; 0: never, the queue then drops its oldest. */
      max_elapsed_time: duration({ min: 0, max: 24 * HOUR_MS }).prefault("5m"),
    })
    .prefault({}),
});

/** Certificates that protect nothing would be taken for protection. */
export const otlphttpConfig = settings.refine(
  (config) => config.tls === undefined || SIGNALS.some((signal) => signalUrl(config, signal)?.startsWith("https:")),
  { path: ["tls"], error: "no endpoint is https" },
);
export type OtlphttpConfig = z.output<typeof settings>;

/** Where a signal goes; undefined: nothing in the configuration says it. */
export function signalUrl(config: OtlphttpConfig, signal: Signal): string | undefined {
  const whole = config[`${signal}_endpoint`];
  if (whole !== undefined || config.endpoint === undefined) return whole;
  const url = new URL(config.endpoint);
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/${signal}`;
  return url.href;
}
