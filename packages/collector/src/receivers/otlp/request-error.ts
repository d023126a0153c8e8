import { OtlpError } from "@otel-audit/otlp";
import { AuthError } from "../../auth.ts";

/** Status codes for what a request can be refused for: HTTP's, and gRPC's (google.rpc.Code), which bodies carry too. */
const CODES = {
  /** The client has to change it: it cannot be read. */
  invalid: { http: 400, grpc: 3 },
  /** What is around a message is broken: its frame or its compression. gRPC tells that from a message that is none. */
  malformed: { http: 400, grpc: 13 },
  /** Not the one message that a unary call of gRPC has. */
  message_count: { http: 400, grpc: 12 },
  unauthenticated: { http: 401, grpc: 16 },
  forbidden: { http: 403, grpc: 7 },
  not_found: { http: 404, grpc: 12 },
  method_not_allowed: { http: 405, grpc: 12 },
  /** It did not come in time. To a client of OTLP 408 is final, and nothing is wrong with its records. */
  timeout: { http: 503, grpc: 4 },
  too_large: { http: 413, grpc: 8 },
  unsupported: { http: 415, grpc: 12 },
  rate_limited: { http: 429, grpc: 8 },
  header_too_large: { http: 431, grpc: 8 },
  transfer_coding: { http: 501, grpc: 12 },
  /** Our fault, or it will pass. */
  unavailable: { http: 503, grpc: 14 },
} as const;
export type RefusalKind = keyof typeof CODES;

/** What will pass: the same request may be taken another time. */
const PASSES: ReadonlySet<RefusalKind> = new Set(["timeout", "unavailable"]);
/** When a refused client should come again, if nobody knows better. */
const RETRY_AFTER_MS = 1_000;

/** Why a request is not taken, for every protocol. The message is for the client. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly kind: RefusalKind;
  /** Present: the client should send it again after it. Absent: that would be of no use. */
  readonly retryAfterMs: number | undefined;

  constructor(kind: RefusalKind, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, { cause: options.cause });
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs ?? (PASSES.has(kind) ? RETRY_AFTER_MS : undefined);
  }

  get httpStatus(): number {
    return CODES[this.kind].http;
  }

  /** Seconds, for HTTP. */
  get retryAfter(): number | undefined {
    return this.retryAfterMs === undefined ? undefined : Math.ceil(this.retryAfterMs / 1_000);
  }

  get grpcCode(): number {
    return CODES[this.kind].grpc;
  }

  /** What is our fault or will pass is retryable; what the client has to change is not. */
  static from(error: unknown): RequestError {
    if (error instanceof RequestError) return error;
    if (error instanceof OtlpError) return new RequestError("invalid", error.message, { cause: error });
    if (error instanceof AuthError) {
      const { kind, message, retryAfterMs } = error;
      return new RequestError(kind, message, { cause: error, ...(retryAfterMs !== undefined && { retryAfterMs }) });
    }
    return new RequestError("unavailable", "the collector cannot take this request now; send it again", {
      cause: error,
    });
  }
}

export function tooLarge(limit: number, name: string, how: string): RequestError {
  return new RequestError(
    "too_large",
    `the request is larger than ${limit} bytes (${name}), ${how}; send smaller batches`,
  );
}
