import { proto } from "../proto/load.ts";
import type { Canaries } from "./canary.ts";
import type { Expected } from "./requests.ts";

/** Which google.rpc.Code goes with a status of HTTP. */
const CODES: Readonly<Record<number, readonly number[]>> = {
  400: [3, 13],
  401: [16],
  403: [7],
  404: [12],
  405: [12],
  413: [8],
  415: [12],
  429: [8],
  431: [8],
  501: [12],
  503: [4, 14],
};
/** What a client may be told of a request that it should not send again. */
const GRPC_CODES = new Set([0, 3, 8, 12, 13]);
const HTTP_STATUS: Readonly<Record<Exclude<Expected, "any">, number>> = { taken: 200, invalid: 400, "too large": 413 };
const GRPC_STATUS: Readonly<Record<Exclude<Expected, "any">, number>> = { taken: 0, invalid: 3, "too large": 8 };

interface Status {
  readonly code?: number;
  readonly message?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What is wrong with an answer; undefined: nothing. */
export function judgeHttp(
  { status, headers, body }: HttpAnswer,
  expected: Expected,
  encoding: string | undefined,
): string | undefined {
  if (status !== 200 && CODES[status] === undefined) return `status ${status}`;
  // Nothing that is sent here has a time when it would be taken.
  if (status === 429 || status === 503) return `retryable: ${status} ${body.toString("latin1").slice(0, 200)}`;
  if (expected !== "any" && status !== HTTP_STATUS[expected]) {
    return `${status} instead of ${HTTP_STATUS[expected]}: ${body.toString("latin1").slice(0, 200)}`;
  }
  const type = headers["content-type"];
  if (encoding !== undefined && type !== encoding) return `${status} in ${type} to a request in ${encoding}`;
  if (type !== "application/json" && type !== "application/x-protobuf") return `${status} in ${type}`;
  try {
    return type === "application/json" ? judgeJson(status, body) : judgeProtobuf(status, body);
  } catch (error) {
    return `${status} with a body that is not ${type}: ${String(error)}`;
  }
}

function judgeJson(status: number, body: Buffer): string | undefined {
  const value = JSON.parse(body.toString()) as Status & { partialSuccess?: { errorMessage?: unknown } };
  if (status !== 200) return judgeStatus(status, value);
  const known = Object.keys(value).every((key) => key === "partialSuccess");
  return known ? undefined : `200 with ${body.toString()}`;
}

function judgeProtobuf(status: number, body: Buffer): string | undefined {
  if (status === 200) {
    proto.response.decode(body);
    return undefined;
  }
  return judgeStatus(status, proto.rpcStatus.toObject(proto.rpcStatus.decode(body)));
}

function judgeStatus(status: number, { code, message }: Status): string | undefined {
  if (!CODES[status]!.includes(code ?? 0)) return `${status} with code ${code}`;
  return message === undefined || message === "" ? `${status} without a message` : undefined;
}

export function judgeGrpc(code: number | undefined, message: string, expected: Expected): string | undefined {
  if (code === undefined) return "no grpc-status";
  if (!GRPC_CODES.has(code)) return `grpc-status ${code}: ${message}`;
  if (expected !== "any" && code !== GRPC_STATUS[expected])
    return `grpc-status ${code} instead of ${GRPC_STATUS[expected]}: ${message}`;
  return code !== 0 && message === "" ? `grpc-status ${code} without a message` : undefined;
}

/** An answer may tell of its own request and of no other. */
export function foreignCanary(text: string, n: number, canaries: Canaries): string | undefined {
  for (const other of canaries.find(text)) if (other !== n) return `the answer holds the canary of request ${other}`;
  return undefined;
}
