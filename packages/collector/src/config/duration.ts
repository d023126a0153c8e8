import { z } from "zod";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;

/** A duration as otelcol writes it (`500ms`, `1m30s`), or a number of milliseconds; the output is milliseconds. */
export function duration(bounds: { min: number; max: number }): z.ZodType<number, number | string> {
  return z.union([z.number(), z.string()]).transform((value, context) => {
    const ms = typeof value === "number" ? value : parse(value);
    if (Number.isInteger(ms) && ms >= bounds.min && ms <= bounds.max) return ms;
    context.addIssue({
      code: "custom",
      message: `must be a duration from ${format(bounds.min)} to ${format(bounds.max)} (500ms, 30s, 1m30s), or milliseconds, not ${JSON.stringify(value)}`,
    });
    return z.NEVER;
  });
}

function parse(text: string): number {
  if (!DURATION.test(text)) return Number.NaN;
  return [...text.matchAll(PART)].reduce((sum, [, amount, unit]) => sum + Number(amount) * UNIT_MS[unit!]!, 0);
}

function format(ms: number): string {
  if (ms > 0 && ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (ms > 0 && ms % 60_000 === 0) return `${ms / 60_000}m`;
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}
