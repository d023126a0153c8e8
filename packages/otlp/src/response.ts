import { LEN, uint32At, valueEnd, varint32End } from "./wire.ts";
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

/** What such an answer says, that of logs and metrics too: the fields are the same. Undefined for an empty or a broken one. */
export function decodePartialSuccess(bytes: Uint8Array): { rejected: number; message: string } | undefined {
  let found: { rejected: number; message: string } | undefined;
  const whole = eachField(bytes, 0, bytes.length, (tag, start, end) => {
    if (tag !== 0x0a) return true;
    const partial = (found ??= { rejected: 0, message: "" });
    return eachField(bytes, start, end, (inner, from, to) => {
      if (inner === 0x08) partial.rejected = uint32At(bytes, from, to);
      if (inner === 0x12) partial.message = Buffer.from(bytes.subarray(from, to)).toString("utf8");
      return true;
    });
  });
  return whole ? found : undefined;
}

/** False when it is no sequence of whole fields, or `visit` says so. */
function eachField(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (tag: number, start: number, end: number) => boolean,
): boolean {
  for (let pos = start; pos < end;) {
    const tagEnd = varint32End(bytes, pos, end);
    if (tagEnd < 0) return false;
    const tag = uint32At(bytes, pos, tagEnd);
    const next = valueEnd(bytes, tagEnd, end, tag, 1);
    if (next < 0) return false;
    if (!visit(tag, (tag & 7) === LEN ? varint32End(bytes, tagEnd, end) : tagEnd, next)) return false;
    pos = next;
  }
  return true;
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
