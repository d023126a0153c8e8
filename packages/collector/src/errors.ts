/**
 * Why the collector could not do something:
 *
 * - `INVALID_CONFIG`: the configuration is wrong; `message` starts with the YAML path
 * - `ADDRESS_IN_USE`: a configured address is taken by another process
 * - `UNAVAILABLE`: it may work later (log full, overload, shutdown, a data directory in use); a client or supervisor should retry
 * - `INTERNAL`: a defect or a machine that does not work (disk, memory)
 */
export type CollectorErrorCode = "INVALID_CONFIG" | "ADDRESS_IN_USE" | "UNAVAILABLE" | "INTERNAL";

/** The one error class of the collector. */
export class CollectorError extends Error {
  override readonly name = "CollectorError";
  readonly code: CollectorErrorCode;

  constructor(code: CollectorErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  static from(error: unknown): CollectorError {
    if (error instanceof CollectorError) return error;
    return new CollectorError("INTERNAL", errorMessage(error), { cause: error });
  }
}

export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Why a file could not be read or written, where the caller names it: `no such file or directory`. */
export function fileTrouble(error: unknown): string {
  const message = errorMessage(error);
  // Node writes "ENOENT: no such file or directory, open '/x'".
  return /^[A-Z0-9]+: (?<reason>[^,]+), /.exec(message)?.groups?.["reason"] ?? message;
}

/** A configuration error at a YAML path, written as otelcol writes it: `service::pipelines::traces: …`. */
export function configError(path: readonly PropertyKey[], message: string): CollectorError {
  const where = path.length === 0 ? "" : `${path.map(String).join("::")}: `;
  return new CollectorError("INVALID_CONFIG", `${where}${message}`);
}
