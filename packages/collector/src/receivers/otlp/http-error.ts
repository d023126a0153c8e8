/** gRPC status codes that OTLP errors carry (google.rpc.Code). */
const RpcCode = {
  InvalidArgument: 3,
  NotFound: 5,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
} as const;

const RPC_CODES: Readonly<Record<number, number>> = {
  400: RpcCode.InvalidArgument,
  403: RpcCode.PermissionDenied,
  404: RpcCode.NotFound,
  405: RpcCode.Unimplemented,
  413: RpcCode.ResourceExhausted,
  415: RpcCode.InvalidArgument,
  503: RpcCode.Unavailable,
};

/** An answer that is not 200, with the message that its google.rpc.Status carries. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;

  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }

  get rpcCode(): number {
    return RPC_CODES[this.status] ?? RpcCode.Internal;
  }
}
