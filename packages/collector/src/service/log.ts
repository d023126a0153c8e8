import { pino, type Logger, type LoggerOptions } from "pino";
import type { ServiceConfig } from "../config/schema.ts";
import { LineWriter } from "./line-writer.ts";

const STDERR = 2;
const COLOURS: Readonly<Record<string, number>> = { debug: 90, info: 36, warn: 33, error: 31, fatal: 31 };
/** What would move a terminal's cursor, or turn text around: values come from clients and servers. */
const CONTROL = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;
/** What pino adds to every line and a person does not need. */
const UNSHOWN = new Set(["level", "time", "pid", "hostname", "msg"]);

/** The log of a service on stderr: JSON lines, or lines for people (`encoding: console`), in colour on a terminal. */
export function makeLog({ level, encoding }: ServiceConfig["telemetry"]["logs"], options: LoggerOptions = {}): Logger {
  const settings = { ...options, level };
  const out = new LineWriter(STDERR);
  if (encoding === "json") return pino(settings, out);
  const colour = process.stderr.isTTY && !process.env.NO_COLOR;
  return pino(settings, { write: (line: string) => out.write(consoleLine(line, colour)) });
}

/** `time  level  message  {"other":"fields"}`, the shape of otelcol's console encoding; a stack follows on lines of its own. */
export function consoleLine(line: string, colour: boolean): string {
  const { labels } = pino.levels;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a line of pino is an object
  const entry = JSON.parse(line) as Readonly<Record<string, unknown>>;
  const level = labels[Number(entry.level)] ?? String(entry.level);
  const paint = (text: string): string => (colour ? `\x1b[${COLOURS[level] ?? 0}m${text}\x1b[0m` : text);
  const { err, ...rest } = Object.fromEntries(Object.entries(entry).filter(([key]) => !UNSHOWN.has(key)));
  const { stack, message } = isRecord(err) ? err : {};
  const fields = err === undefined ? rest : { ...rest, error: message ?? err };
  const parts = [
    new Date(Number(entry.time)).toISOString(),
    paint(level),
    harmless(typeof entry.msg === "string" ? entry.msg : ""),
    ...(Object.keys(fields).length > 0 ? [harmless(JSON.stringify(fields))] : []),
  ];
  const trace = typeof stack === "string" && level === "error" ? stack.split("\n").slice(1).map(harmless) : [];
  return `${[parts.join("\t"), ...trace].join("\n")}\n`;
}

function harmless(text: string): string {
  return text.replace(CONTROL, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
