import {
  AttributeList,
  EventFields,
  LinkFields,
  OtlpError,
  readEvent,
  readLink,
  readResource,
  readScope,
  readSpan,
  scanTraces,
  ScopeFields,
  SPAN_MALFORMED,
  SpanFields,
  SpanIndex,
  ValueKind,
} from "@otel-audit/otlp";
import { ATTR_SERVICE_NAME } from "@otel-audit/semantic-conventions";
import { ByteSink, text } from "../native/byte-sink.ts";
import { sourceOf } from "../native/source.ts";
import { valueText } from "./value-text.ts";

const KINDS = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"].map(text);
const STATUSES = ["Unset", "Ok", "Error"].map(text);
/** pdata has no text for a number outside its enum. */
const EMPTY = text("");
const SERVICE_NAME = Buffer.from(ATTR_SERVICE_NAME);
const HEX = Buffer.from("0123456789abcdef");

/** RowBinary rows of `otel_traces` from OTLP bytes. */
export class TraceRows {
  #sink = new ByteSink(0);
  #bytes: Uint8Array = new Uint8Array(0);
  #source = sourceOf(this.#bytes);
  readonly #index = new SpanIndex();
  readonly #span = new SpanFields();
  readonly #scope = new ScopeFields();
  readonly #event = new EventFields();
  readonly #link = new LinkFields();
  readonly #resource = new AttributeList();

  /**
   * @param request an ExportTraceServiceRequest.
   * @returns one row for each span that can be read; broken ones are left out.
   * @throws OtlpError when the request's framing is broken.
   */
  encode(request: Uint8Array): { rows: Uint8Array<ArrayBuffer>; offsets: Uint32Array<ArrayBuffer> } {
    const index = scanTraces(request, this.#index);
    const sink = (this.#sink = new ByteSink(request.length * 2));
    this.#bytes = request;
    this.#source = sourceOf(request);
    const offsets = new Uint32Array(index.count + 1);
    let count = 0;
    for (let i = 0; i < index.count; i++) {
      if ((index.flags[i]! & SPAN_MALFORMED) !== 0) continue;
      if (this.#tryRow(index, i)) offsets[++count] = sink.length;
    }
    // Copies: both go to another thread.
    return { rows: Uint8Array.from(sink.written()), offsets: offsets.slice(0, count + 1) };
  }

  /** The scan does not look into events, links and nested values: what is broken there shows only now. */
  #tryRow(index: SpanIndex, i: number): boolean {
    const start = this.#sink.length;
    try {
      this.#row(index, i);
      return true;
    } catch (error) {
      if (!(error instanceof OtlpError)) throw error;
      this.#sink.length = start;
      return false;
    }
  }

  #row(index: SpanIndex, i: number): void {
    const span = this.#span;
    const scope = this.#scope;
    const resourceRow = index.resource[i]!;
    const scopeRow = index.scope[i]!;
    readSpan(this.#bytes, index.start[i]!, index.end[i]!, span);
    readResource(this.#bytes, index.resourceStart[resourceRow]!, index.resourceEnd[resourceRow]!, this.#resource);
    readScope(this.#bytes, index.scopeStart[scopeRow]!, index.scopeEnd[scopeRow]!, scope);
    this.#uint64(span.startTime);
    this.#hex(span.traceIdStart, span.traceIdEnd);
    this.#hex(span.spanIdStart, span.spanIdEnd);
    this.#hex(span.parentSpanIdStart, span.parentSpanIdEnd);
    this.#slice(span.traceStateStart, span.traceStateEnd);
    this.#slice(span.nameStart, span.nameEnd);
    this.#encoded(KINDS[span.kind] ?? EMPTY);
    this.#serviceName();
    this.#attributes(this.#resource);
    this.#slice(scope.nameStart, scope.nameEnd);
    this.#slice(scope.versionStart, scope.versionEnd);
    this.#attributes(span.attributes);
    this.#uint64(span.endTime > span.startTime ? span.endTime - span.startTime : 0n);
    this.#encoded(STATUSES[span.statusCode] ?? EMPTY);
    this.#slice(span.statusMessageStart, span.statusMessageEnd);
    this.#events();
    this.#links();
  }

  #events(): void {
    const event = this.#event;
    this.#eachEvent(() => this.#uint64(event.time));
    this.#eachEvent(() => this.#slice(event.nameStart, event.nameEnd));
    this.#eachEvent(() => this.#attributes(event.attributes));
  }

  #eachEvent(write: () => void): void {
    const { eventCount, eventStart, eventEnd } = this.#span;
    this.#varint(eventCount);
    for (let i = 0; i < eventCount; i++) {
      readEvent(this.#bytes, eventStart[i]!, eventEnd[i]!, this.#event);
      write();
    }
  }

  #links(): void {
    const link = this.#link;
    this.#eachLink(() => this.#hex(link.traceIdStart, link.traceIdEnd));
    this.#eachLink(() => this.#hex(link.spanIdStart, link.spanIdEnd));
    this.#eachLink(() => this.#slice(link.traceStateStart, link.traceStateEnd));
    this.#eachLink(() => this.#attributes(link.attributes));
  }

  #eachLink(write: () => void): void {
    const { linkCount, linkStart, linkEnd } = this.#span;
    this.#varint(linkCount);
    for (let i = 0; i < linkCount; i++) {
      readLink(this.#bytes, linkStart[i]!, linkEnd[i]!, this.#link);
      write();
    }
  }

  #serviceName(): void {
    const at = this.#resource.find(this.#bytes, SERVICE_NAME);
    if (at < 0) this.#encoded(EMPTY);
    else this.#value(this.#resource, at);
  }

  #attributes(list: AttributeList): void {
    this.#varint(list.count);
    for (let i = 0; i < list.count; i++) {
      this.#slice(list.keyStart[i]!, list.keyEnd[i]!);
      this.#value(list, i);
    }
  }

  #value(list: AttributeList, i: number): void {
    const kind = list.kind[i]!;
    const start = list.valueStart[i]!;
    const end = list.valueEnd[i]!;
    if (kind === ValueKind.String) this.#slice(start, end);
    else this.#encoded(text(valueText(this.#bytes, kind, start, end)));
  }

  /** A string that is in the request. */
  #slice(start: number, end: number): void {
    this.#varint(end - start);
    this.#sink.copy(this.#source, start, end);
  }

  /** A string with its length already before it. */
  #encoded(value: Uint8Array): void {
    this.#sink.append(value);
  }

  /** An id as hexadecimal text; empty when it is absent or all zero. */
  #hex(start: number, end: number): void {
    let zero = true;
    for (let i = start; i < end; i++) if (this.#bytes[i] !== 0) zero = false;
    if (zero) {
      this.#encoded(EMPTY);
      return;
    }
    this.#varint((end - start) * 2);
    this.#sink.reserve((end - start) * 2);
    const target = this.#sink.bytes;
    let at = this.#sink.length;
    for (let i = start; i < end; i++) {
      const byte = this.#bytes[i]!;
      target[at++] = HEX[byte >> 4]!;
      target[at++] = HEX[byte & 15]!;
    }
    this.#sink.length = at;
  }

  #varint(value: number): void {
    this.#sink.reserve(5);
    const target = this.#sink.bytes;
    let rest = value;
    while (rest > 127) {
      target[this.#sink.length++] = (rest & 127) | 128;
      rest >>>= 7;
    }
    target[this.#sink.length++] = rest;
  }

  /** As upstream: a time above the range of Int64 becomes one before 1970. */
  #uint64(value: bigint): void {
    this.#sink.reserve(8);
    this.#sink.length = this.#sink.bytes.writeBigUInt64LE(value, this.#sink.length);
  }
}
