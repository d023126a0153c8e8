import { InvalidArgumentError, Option, type Command } from "commander";

/** `--data`, `--url`, `--user`, `--token`, `--database`: where records are read from. */
export function sourceOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--data <dir>", "data directory of a collector, running or not")
        .default("otel-audit-data")
        .conflicts("url"),
    )
    .option("--url <url>", "ClickHouse server to ask instead, for example http://127.0.0.1:8123")
    .option("--user <name>", "user of that server")
    .addOption(
      new Option("--token <token>", "password of the user, or reader token of the collector").env("OTEL_AUDIT_TOKEN"),
    )
    .option("--database <name>", "database of the tables", "otel_audit");
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
