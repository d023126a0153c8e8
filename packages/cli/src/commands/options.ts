import { InvalidArgumentError, Option, type Command } from "commander";

/** `--data`, `--url`, `--user`, `--token`, `--database`: where records are read from. */
export function sourceOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--data <dir>", "data directory of a collector, running or not")
        .default("otel-audit-data")
        .argParser(directory)
        .conflicts("url"),
    )
    .option("--url <url>", "ClickHouse server to ask instead, for example http://127.0.0.1:8123")
    .option("--user <name>", "user of that server")
    .addOption(
      new Option("--token <token>", "password of the user, or reader token of the collector").env("OTEL_AUDIT_TOKEN"),
    )
    .option("--database <name>", "database of the tables", "otel_audit");
}

/** `--agent`, `--workflow`, `--from`, `--last`, `--to`: which records. */
export function filterOptions(command: Command): Command {
  return command
    .option("--agent <id>", "agent by id or name, * for any characters; unattributed: records of nobody")
    .option("--workflow <name>", "workflow by name (kind of work) or id (one run), * for any characters")
    .option("--from <time>", "at or after: 2026-11-21, 2026-11-21T10:00:00Z, or how long ago: 90s, 15m, 2h, 14d, 3w")
    .addOption(new Option("--last <time>", "the same as --from: --last 14d").conflicts("from"))
    .option("--to <time>", "before");
}

/** Parses a whole number within bounds; commander puts the option's name before the message. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return value;
  };
}

/** Parses a directory. An empty one is a variable that is not set, and would be the working directory. */
export function directory(text: string): string {
  if (text === "") throw new InvalidArgumentError("It must name a directory.");
  return text;
}
