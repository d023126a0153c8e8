import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CliError } from "../errors.ts";
import { parseTime } from "./time.ts";

const NOW = Date.parse("2026-11-21T12:00:00.250Z");

function tryTime(text: string): string {
  try {
    return parseTime("--from", text, NOW);
  } catch (error) {
    if (error instanceof CliError) return error.code;
    throw error;
  }
}

describe("parseTime", () => {
  it.each([
    ["2026-11-21", "2026-11-21 00:00:00.000000000"],
    ["2026-11-21T10:00", "2026-11-21 10:00:00.000000000"],
    ["2026-11-21 10:00:05", "2026-11-21 10:00:05.000000000"],
    ["2026-11-21T10:00:05Z", "2026-11-21 10:00:05.000000000"],
    ["2026-11-21t10:00:05z", "2026-11-21 10:00:05.000000000"],
    ["2026-11-21T10:00:05.123456789Z", "2026-11-21 10:00:05.123456789"],
    ["2026-11-21T10:00:05.5+02:00", "2026-11-21 08:00:05.500000000"],
    ["2026-11-21T10:00:00-0330", "2026-11-21 13:30:00.000000000"],
    ["1970-01-01", "1970-01-01 00:00:00.000000000"],
    ["90s", "2026-11-21 11:58:30.250000000"],
    ["15m", "2026-11-21 11:45:00.250000000"],
    ["2h", "2026-11-21 10:00:00.250000000"],
    ["14d", "2026-11-07 12:00:00.250000000"],
    ["3w", "2026-10-31 12:00:00.250000000"],
    ["0s", "2026-11-21 12:00:00.250000000"],
  ])("reads %s", (text, expected) => {
    expect(parseTime("--from", text, NOW)).toBe(expected);
  });

  it.each([
    "",
    "yesterday",
    "1",
    "2026",
    "2026-13-01",
    "2026-02-30",
    "2026-11-21T25:00",
    "2h30m",
    "-2h",
    "2 h",
    "21.11.2026",
    "2026-11-21T10",
    "2026-11-21T10:00:00.1234567890Z",
  ])("refuses %j and says what is accepted", (text) => {
    expect(() => parseTime("--from", text, NOW)).toThrow(/^--from: ".*" is neither a time in UTC .* nor how long ago/);
  });

  it.each(["1969-12-31", "2262-04-11", "9999-01-01", "999999999d"])(
    "refuses %s, which the table cannot hold",
    (text) => {
      expect(() => parseTime("--to", text, NOW)).toThrow(/^--to: .* outside the years 1970 to 2261$/);
    },
  );

  it("does not depend on the time zone of the machine", () => {
    const zone = process.env.TZ;
    try {
      process.env.TZ = "America/New_York";
      expect(parseTime("--from", "2026-11-21T10:00", NOW)).toBe("2026-11-21 10:00:00.000000000");
    } finally {
      if (zone === undefined) delete process.env.TZ;
      else process.env.TZ = zone;
    }
  });

  it("gives a time or a CliError for any text", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(tryTime(text)).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}$|^USAGE$/);
      }),
    );
  });
});
