import { printableLines } from "./output/text.ts";

/** What the shell is told: 0 fine, 1 the answer is no or it did not work, 2 wrong use or configuration. */
export const ExitCode = { Ok: 0, No: 1, Usage: 2 } as const;

/**
 * Why a command could not run:
 *
 * - `USAGE`: an option has a wrong value; the message names option, value and what is accepted
 * - `NO_DATA`: an option names a place where no records are, or that does not let us in
 * - `FAILED`: it was tried and did not work; it may the next time
 */
type CliErrorCode = "USAGE" | "NO_DATA" | "FAILED";

/** The one error class of the command line. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Codes of all packages' errors that say: asked like this, it does not work the next time either. */
const WRONG_USE: ReadonlySet<unknown> = new Set([
  "USAGE",
  "NO_DATA",
  "INVALID_CONFIG",
  "INVALID_OPTION",
  "INVALID_ARGUMENT",
]);

/** A supervisor need not start a process again that ends so. */
export function isWrongUse(error: unknown): boolean {
  return error instanceof Error && "code" in error && WRONG_USE.has(error.code);
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
