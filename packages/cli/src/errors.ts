/** What the shell is told: 0 fine, 1 the answer is no, 2 wrong use or configuration. */
export const ExitCode = { Ok: 0, No: 1, Usage: 2 } as const;

/**
 * Why a command could not run:
 *
 * - `USAGE`: an option has a wrong value; the message names option, value and what is accepted
 * - `NO_DATA`: the data directory or the server is not there
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

/** One line for a person; the stack only with DEBUG=otel-audit. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env.DEBUG?.includes("otel-audit") ? (error.stack ?? error.message) : error.message;
}
