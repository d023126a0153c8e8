import { pino } from "pino";
import { expect, it } from "vitest";
import { consoleLine } from "./log.ts";

/** What a logger would write. */
function written(log: (logger: pino.Logger) => void, colour = false): string {
  const lines: string[] = [];
  log(pino({ level: "debug" }, { write: (line: string) => void lines.push(consoleLine(line, colour)) }));
  return lines.join("");
}

it("is a line for people", () => {
  expect(written((log) => log.child({ component: "otlp" }).warn({ requests: 3 }, "requests are refused"))).toMatch(
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\twarn\trequests are refused\t\{"component":"otlp","requests":3\}\n$/,
  );
  expect(written((log) => log.info("ready"))).toMatch(/Z\tinfo\tready\n$/);
});

it("shows where an error comes from", () => {
  const text = written((log) => log.error({ err: new Error("disk full") }, "not written"));
  expect(text).toContain('\terror\tnot written\t{"error":"disk full"}\n    at ');
});

it("has colours only when asked for, and never those of somebody else", () => {
  expect(written((log) => log.info("ready"), true)).toContain("\x1b[36minfo\x1b[0m");
  const hostile = "\x1b[2J\u202e\u009b31m\nfake line";
  const text = written((log) => log.warn({ hostile, err: new Error(hostile) }, hostile));
  expect(text.slice(0, -1).replaceAll("\t", "")).not.toMatch(/[\p{Cc}\u202e\u009b]/u);
});
