import { FieldCursor } from "./cursor.ts";
import { failure } from "./errors.ts";
import { REQUEST, RESOURCE_SPANS, SCOPE_SPANS } from "./shapes.ts";
import { SPAN_MALFORMED, type SpanIndex } from "./span-index.ts";

/** Bytes of a length that is written before it is known: a varint padded to the longest that a length may have. */
const PADDED = 5;
/** The tag of a message that is framed anew is written in its short form: field 1 or 2, length-delimited. */
const FRAME = 1 + PADDED;

const request = new FieldCursor(REQUEST);
const resourceSpans = new FieldCursor(RESOURCE_SPANS, { repeats: "note" });
const scopeSpans = new FieldCursor(SCOPE_SPANS, { repeats: "note" });

/**
 * A request with the spans that have none of the flags in `drop`, framed anew without decoding: kept spans, resources,
 * scopes and unknown fields stay byte for byte. A ResourceSpans or ScopeSpans without kept spans is left out.
 *
 * Lengths of framed messages are varints padded to 5 bytes, which every protobuf implementation reads. To forward
 * spans to a backend drop malformed ones too, or the backend refuses the whole request.
 *
 * @param into memory to write to; the result is then a part of it. Used when it is large enough (a bit more than the
 *   request is; see `index.bytes.length`), else memory is allocated, which costs several times the slicing itself. Must
 *   not be the request's own memory. Default: allocate.
 * @returns `index.bytes` itself when nothing is dropped; bytes of length 0 when no span is left.
 */
export function sliceSpans(index: SpanIndex, drop: number, into?: Uint8Array): Uint8Array {
  const { bytes, count, flags, start, end } = index;
  let kept = 0;
  let size = bytes.length + (index.resourceCount + index.scopeCount) * FRAME;
  for (let row = 0; row < count; row++) {
    if ((flags[row]! & drop) === 0) kept++;
    else size -= end[row]! - start[row]!;
  }
  if (kept === 0) return bytes.subarray(0, 0);
  if (kept === count && !(index.brokenWithoutSpan && (drop & SPAN_MALFORMED) !== 0)) return bytes;
  if (into !== undefined && into.length >= size) return new Slicer(index, drop, into).run();
  const out = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
  const slice = new Slicer(index, drop, out).run();
  // Not zeroed beforehand, which would be a third of the cost; nobody is to find other people's bytes in the rest.
  out.fill(0, slice.length);
  return slice;
}

class Slicer {
  readonly #index: SpanIndex;
  readonly #bytes: Uint8Array;
  readonly #drop: number;
  readonly #out: Uint8Array;
  #length = 0;
  /** Bytes from here on are to be kept but not yet copied: neighbours are copied at once. */
  #pending = 0;
  #row = 0;

  constructor(index: SpanIndex, drop: number, out: Uint8Array) {
    this.#index = index;
    this.#bytes = index.bytes;
    this.#drop = drop;
    this.#out = out;
  }

  run(): Uint8Array {
    request.open(this.#bytes, 0, this.#bytes.length);
    while (request.next()) if (request.field === 1) this.#message(request, 0x0a, this.#resourceSpans);
    if (request.error < 0) throw failure(request.error, "ExportTraceServiceRequest", request.fieldStart);
    this.#copyUntil(this.#bytes.length, this.#bytes.length);
    return this.#out.subarray(0, this.#length);
  }

  readonly #resourceSpans = (start: number, end: number): boolean => {
    let any = false;
    resourceSpans.open(this.#bytes, start, end);
    while (resourceSpans.next()) {
      if (resourceSpans.field === 2 && this.#message(resourceSpans, 0x12, this.#scopeSpans)) any = true;
    }
    if (resourceSpans.error < 0) throw failure(resourceSpans.error, "ResourceSpans", resourceSpans.fieldStart);
    return any;
  };

  readonly #scopeSpans = (start: number, end: number): boolean => {
    const flags = this.#index.flags;
    const ends = this.#index.end;
    const drop = this.#drop;
    let any = false;
    scopeSpans.open(this.#bytes, start, end);
    for (;;) {
      // Spans one after the other: the index knows where they end.
      let pos = scopeSpans.pos;
      while (pos < end && this.#bytes[pos] === 0x12 && ends[this.#row]! > pos && ends[this.#row]! <= end) {
        const spanEnd = ends[this.#row]!;
        if ((flags[this.#row++]! & drop) === 0) any = true;
        else this.#copyUntil(pos, spanEnd);
        pos = spanEnd;
      }
      scopeSpans.pos = pos;
      if (!scopeSpans.next()) break;
      if (scopeSpans.field !== 2) continue;
      // A span whose tag is padded.
      if ((flags[this.#row++]! & drop) === 0) any = true;
      else this.#copyUntil(scopeSpans.fieldStart, scopeSpans.valueEnd);
    }
    if (scopeSpans.error < 0) throw failure(scopeSpans.error, "ScopeSpans", scopeSpans.fieldStart);
    return any;
  };

  /** Writes the message under `cursor` with a new length, or takes it back when `body` says that no span is left. */
  #message(cursor: FieldCursor, tag: number, body: (start: number, end: number) => boolean): boolean {
    const { valueStart, valueEnd } = cursor;
    this.#copyUntil(cursor.fieldStart, valueStart);
    const before = this.#length;
    this.#out[before] = tag;
    this.#length = before + FRAME;
    const any = body(valueStart, valueEnd);
    this.#copyUntil(valueEnd, valueEnd);
    if (any) this.#writeLength(before + 1, this.#length - before - FRAME);
    else this.#length = before;
    return any;
  }

  /** Copies what is pending up to `end` and goes on at `next`. */
  #copyUntil(end: number, next: number): void {
    if (end > this.#pending) {
      this.#out.set(this.#bytes.subarray(this.#pending, end), this.#length);
      this.#length += end - this.#pending;
    }
    this.#pending = next;
  }

  #writeLength(at: number, length: number): void {
    let rest = length;
    for (let i = at; i < at + PADDED - 1; i++) {
      this.#out[i] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#out[at + PADDED - 1] = rest;
  }
}
