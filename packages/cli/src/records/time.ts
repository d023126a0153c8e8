import { CliError } from "../errors.ts";

const AGO = /^(?<count>\d{1,9})(?<unit>[smhdw])$/;
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const ISO =
  /^(?<date>\d{4}-\d{2}-\d{2})(?:[T ](?<minute>\d{2}:\d{2})(?::(?<second>\d{2})(?:\.(?<fraction>\d{1,9}))?)?)?(?<zone>Z|[+-]\d{2}:?\d{2})?$/i;

/** What ClickHouse's DateTime64(9) holds: 64 bits of nanoseconds around 1970. */
const EARLIEST = Date.parse("1970-01-01T00:00:00Z");
const LATEST = Date.parse("2262-04-11T00:00:00Z");

/**
 * A point in time as a person writes it, in the form `2026-11-21 10:00:00.000000000` of UTC. Without a zone it is UTC,
 * as all times that are shown; what was shown can be given back with all its nanoseconds.
 *
 * @param option its name for errors, `--from`
 * @throws CliError `USAGE`
 */
export function parseTime(option: string, text: string, now: number): string {
  const { ms, fraction } = ago(text, now) ?? iso(text) ?? { ms: Number.NaN, fraction: "" };
  if (Number.isNaN(ms)) {
    throw new CliError(
      "USAGE",
      `${option}: "${text}" is neither a time in UTC (2026-11-21, 2026-11-21T10:00:00Z) nor how long ago (90s, 15m, 2h, 14d, 3w)`,
    );
  }
  if (ms < EARLIEST || ms >= LATEST) {
    throw new CliError("USAGE", `${option}: "${text}" is outside the years 1970 to 2261`);
  }
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}.${fraction.padEnd(9, "0")}`;
}

function ago(text: string, now: number): { ms: number; fraction: string } | undefined {
  const { count, unit } = AGO.exec(text)?.groups ?? {};
  if (count === undefined || unit === undefined) return undefined;
  const ms = now - Number(count) * UNIT_MS[unit]!;
  return { ms, fraction: String(((ms % 1000) + 1000) % 1000).padStart(3, "0") };
}

/** Date knows milliseconds only, so the fraction stays text. */
function iso(text: string): { ms: number; fraction: string } | undefined {
  const { date, minute = "00:00", second = "00", fraction = "", zone = "Z" } = ISO.exec(text)?.groups ?? {};
  if (date === undefined) return undefined;
  // Date would turn 2026-02-30 into March.
  if (!isCalendarDay(date)) return undefined;
  return { ms: Date.parse(`${date}T${minute}:${second}${zone.toUpperCase()}`), fraction };
}

function isCalendarDay(date: string): boolean {
  const ms = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date);
}
