import { printableLines } from "./output/text.ts";

/** What the shell is told: 0 fine, 1 the answer is no, 2 wrong use or configuration. */
export const ExitCode = { Ok: 0, No: 1, Usage: 2 } as const;

/**
 * Why a command could not run:
 *
 * - `USAGE`: an option has a wrong value; the message names option, value and what is accepted
 * - `NO_DATA`: the data directory or the server is not there, or does not let us in
 * - `FAILED`: it was tried and did not work
 */
export type CliErrorCode = "USAGE" | "NO_DATA" | "FAILED";

/** The one error class of the command line. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** For a person; the stack only with DEBUG=otel-audit. What a server or a file put into the message stays harmless. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return printableLines(String(error));
  const text = process.env.DEBUG?.includes("otel-audit") ? (error.stack ?? error.message) : error.message;
  return printableLines(text);
}

/** Why a file or socket operation failed, in words: `no such file or directory`. */
export function describeSystemError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Node writes "ENOENT: no such file or directory, open '/x'": the caller names the file already.
  return /^[A-Z0-9]+: (?<reason>[^,]+), /.exec(error.message)?.groups?.reason ?? error.message;
}
