import { Client, Metadata, credentials, type ServiceError } from "@grpc/grpc-js";
import { connect, type ClientHttp2Session, type OutgoingHttpHeaders } from "node:http2";
import { SPAN, requestOf } from "./spans.ts";

const TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/** A request of so many debug spans. */
export function traces(count: number): Buffer {
  const spans = Array.from({ length: count }, (_, i) => ({ ...SPAN, spanId: (i + 1).toString(16).padStart(16, "0") }));
  return Buffer.from(requestOf(spans));
}

const same = (bytes: Buffer): Buffer => bytes;

/** A call by the official implementation. */
export async function call(
  url: string,
  message: Buffer,
  method = TRACES,
  compression = 0,
): Promise<{ response?: Buffer; error?: ServiceError }> {
  const client = new Client(url.replace("http://", ""), credentials.createInsecure(), {
    "grpc.default_compression_algorithm": compression,
    "grpc.enable_retries": 0,
  });
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(method, same, same, message, new Metadata(), (error, response) =>
        resolve(error ? { error } : { response: response! }),
      );
    });
  } finally {
    client.close();
  }
}

interface RawAnswer {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
  readonly reset: number;
}

/** A request as somebody writes it who is no gRPC library. */
export function raw(session: ClientHttp2Session, body: Buffer, more: OutgoingHttpHeaders = {}): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": TRACES,
      "content-type": "application/grpc",
      te: "trailers",
      ...more,
    });
    let headers = {};
    let trailers = {};
    const chunks: Buffer[] = [];
    stream.on("response", (got) => (headers = got));
    stream.on("trailers", (got) => (trailers = got));
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => resolve({ headers, trailers, body: Buffer.concat(chunks), reset: stream.rstCode ?? 0 }));
    stream.end(body);
  });
}

/** Runs on one connection, and ends it. */
export async function withSession<T>(url: string, run: (session: ClientHttp2Session) => Promise<T>): Promise<T> {
  const session = connect(url);
  session.on("error", () => {});
  try {
    return await run(session);
  } finally {
    session.destroy();
  }
}
