import { ByteWriter } from "./writer.ts";

/**
 * An ExportTraceServiceResponse: empty (length 0) when nothing was rejected and there is no message, as OTLP asks for
 * full success.
 */
export function encodePartialSuccess(rejectedSpans: number, message: string): Uint8Array {
  if (rejectedSpans === 0 && message === "") return new Uint8Array(0);
  const writer = new ByteWriter(message.length + 32);
  writer.byte(0x0a);
  const mark = writer.open();
  if (rejectedSpans !== 0) {
    writer.byte(0x08);
    writer.varintNumber(rejectedSpans);
  }
  writeMessage(writer, message);
  writer.close(mark);
  return writer.finish();
}

const RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo";

/**
 * A google.rpc.Status: the body of every OTLP/HTTP error, and `grpc-status-details-bin` of gRPC. `code` is a gRPC status
 * code. With `retryAfterMs` a google.rpc.RetryInfo is among its details, by which a client knows that it may come again.
 */
export function encodeStatus(code: number, message: string, retryAfterMs?: number): Uint8Array {
  const writer = new ByteWriter(message.length + 64);
  if (code !== 0) {
    writer.byte(0x08);
    writer.varintNumber(code);
  }
  writeMessage(writer, message);
  if (retryAfterMs !== undefined) writeRetryInfo(writer, retryAfterMs);
  return writer.finish();
}

/** The same in the JSON of protobuf. */
export function statusToJson(code: number, message: string, retryAfterMs?: number): string {
  const details = [{ "@type": RETRY_INFO, retryDelay: `${Math.ceil(retryAfterMs ?? 0) / 1000}s` }];
  return JSON.stringify({ code, message, ...(retryAfterMs !== undefined && { details }) });
}

/** Status.details: an Any with a RetryInfo, whose only field is a Duration. */
function writeRetryInfo(writer: ByteWriter, retryAfterMs: number): void {
  const ms = Math.ceil(retryAfterMs);
  writer.byte(0x1a);
  const any = writer.open();
  writer.byte(0x0a);
  writer.string(RETRY_INFO);
  writer.byte(0x12);
  const info = writer.open();
  writer.byte(0x0a);
  const delay = writer.open();
  for (const [tag, value] of [
    [0x08, Math.floor(ms / 1000)],
    [0x10, (ms % 1000) * 1_000_000],
  ] as const) {
    if (value === 0) continue;
    writer.byte(tag);
    writer.varintNumber(value);
  }
  for (const mark of [delay, info, any]) writer.close(mark);
}

function writeMessage(writer: ByteWriter, message: string): void {
  if (message === "") return;
  writer.byte(0x12);
  writer.string(message);
}
