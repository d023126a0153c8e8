import { Option, type Command } from "commander";
import { CliError } from "../errors.ts";

/** `--data`, `--url`, `--user`, `--token`: where records are read from. */
export function sourceOptions(command: Command): Command {
  return command
    .option("--data <dir>", "data directory of a collector, running or not", "otel-audit-data")
    .addOption(new Option("--url <url>", "ClickHouse server to ask instead, for example http://127.0.0.1:8123"))
    .option("--user <name>", "user of that server")
    .addOption(new Option("--token <token>", "password or reader token").env("OTEL_AUDIT_TOKEN"));
}

/** An integer option within bounds. */
export function integer(option: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d+$/.test(text) || value < min || value > max) {
      throw new CliError("USAGE", `${option}: "${text}" is not a whole number from ${min} to ${max}`);
    }
    return value;
  };
}
