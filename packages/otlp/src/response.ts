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

/** A google.rpc.Status, the body of every OTLP/HTTP error. `code` is a gRPC status code. */
export function encodeStatus(code: number, message: string): Uint8Array {
  const writer = new ByteWriter(message.length + 32);
  if (code !== 0) {
    writer.byte(0x08);
    writer.varintNumber(code);
  }
  writeMessage(writer, message);
  return writer.finish();
}

function writeMessage(writer: ByteWriter, message: string): void {
  if (message === "") return;
  writer.byte(0x12);
  writer.string(message);
}
