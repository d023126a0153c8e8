import { z } from "zod";
import { duration } from "../../config/duration.ts";

const MINUTE_MS = 60_000;
const mib = z
  .number()
  .int()
  .min(1)
  .max(16 * 1024 * 1024);
const percentage = z.number().int().min(1).max(100);

export const memoryLimiterConfig = z
  .strictObject({
    /** Between two measurements. */
    check_interval: duration({ min: 10, max: MINUTE_MS }).prefault("1s"),
    /** Hard limit in MiB: above it garbage is collected at every check. Comes before `limit_percentage`. */
    limit_mib: mib.optional(),
    /** How much use may grow between two checks; requests are refused from `limit - spike_limit` on. Default: a fifth of the limit. */
    spike_limit_mib: mib.optional(),
    /** The same as part of the memory of the container, or of the machine. */
    limit_percentage: percentage.optional(),
    spike_limit_percentage: percentage.optional(),
    /** The least time between two forced collections above the soft limit, and above the hard one. */
    min_gc_interval_when_soft_limited: duration({ min: 0, max: 10 * MINUTE_MS }).prefault("10s"),
    min_gc_interval_when_hard_limited: duration({ min: 0, max: 10 * MINUTE_MS }).prefault("0s"),
  })
  .refine(
    ({ limit_mib, limit_percentage }) => limit_mib !== undefined || limit_percentage !== undefined,
    "needs limit_mib or limit_percentage",
  )
  .refine(({ limit_mib, spike_limit_mib }) => less(spike_limit_mib, limit_mib), {
    path: ["spike_limit_mib"],
    message: "must be smaller than limit_mib",
  })
  .refine(({ limit_percentage, spike_limit_percentage }) => less(spike_limit_percentage, limit_percentage), {
    path: ["spike_limit_percentage"],
    message: "must be smaller than limit_percentage",
  })
  .refine((config) => config.min_gc_interval_when_soft_limited >= config.min_gc_interval_when_hard_limited, {
    path: ["min_gc_interval_when_soft_limited"],
    message: "must not be smaller than min_gc_interval_when_hard_limited",
  });
export type MemoryLimiterConfig = z.output<typeof memoryLimiterConfig>;

function less(spike: number | undefined, limit: number | undefined): boolean {
  return spike === undefined || limit === undefined || spike < limit;
}
