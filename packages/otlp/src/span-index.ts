import { grown32, grown8 } from "./attributes.ts";

/** The span has an attribute with the key `audit.action`. */
export const SPAN_AUDIT = 1;
/**
 * The span's own bytes are broken or repeat a singular field, its ids are not OTLP's (trace id of 16 bytes, span id of
 * 8, neither all zero), or its Resource or InstrumentationScope is broken. To be rejected alone.
 */
export const SPAN_MALFORMED = 2;

/** One request may hold this many spans, and as many ResourceSpans and ScopeSpans. */
export const MAX_SPANS = 1 << 20;

const NOTHING = new Uint8Array(0);

/**
 * Where the spans of a request lie: no object, string or BigInt per span. Give it to `scanTraces` again and again;
 * the arrays grow as needed and are valid up to the counts.
 */
export class SpanIndex {
  /** The scanned request; all offsets count from its first byte. */
  bytes: Uint8Array = NOTHING;
  count = 0;
  /** Spans with SPAN_AUDIT, malformed ones included. In a malformed span an `audit.action` after the damage is not seen. */
  auditCount = 0;
  malformedCount = 0;
  /** Span message body, in the order of the request. */
  start = new Uint32Array(512);
  end = new Uint32Array(512);
  /** SPAN_AUDIT | SPAN_MALFORMED. */
  flags = new Uint8Array(512);
  /** Row numbers into the resource and scope tables below. */
  resource = new Uint32Array(512);
  scope = new Uint32Array(512);
  /** One row for each ResourceSpans: its Resource message body, (0, 0) if absent. */
  resourceStart = new Uint32Array(16);
  resourceEnd = new Uint32Array(16);
  resourceCount = 0;
  /** One row for each ScopeSpans: its InstrumentationScope body, (0, 0) if absent. */
  scopeStart = new Uint32Array(16);
  scopeEnd = new Uint32Array(16);
  scopeCount = 0;
  /** A ResourceSpans or ScopeSpans is broken and has no span that could carry the flag. */
  brokenWithoutSpan = false;

  /** Empties the index for a new request. */
  reset(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
    this.auditCount = 0;
    this.malformedCount = 0;
    this.resourceCount = 0;
    this.scopeCount = 0;
    this.brokenWithoutSpan = false;
  }

  /** Makes room for one more span. */
  growSpans(): void {
    const size = this.start.length * 2;
    this.start = grown32(this.start, size);
    this.end = grown32(this.end, size);
    this.resource = grown32(this.resource, size);
    this.scope = grown32(this.scope, size);
    this.flags = grown8(this.flags, size);
  }

  /** Appends an empty row to the resource table and returns its number. */
  addResource(): number {
    const row = this.resourceCount;
    if (row === this.resourceStart.length) {
      this.resourceStart = grown32(this.resourceStart, row * 2);
      this.resourceEnd = grown32(this.resourceEnd, row * 2);
    }
    this.resourceStart[row] = 0;
    this.resourceEnd[row] = 0;
    this.resourceCount = row + 1;
    return row;
  }

  /** Appends an empty row to the scope table and returns its number. */
  addScope(): number {
    const row = this.scopeCount;
    if (row === this.scopeStart.length) {
      this.scopeStart = grown32(this.scopeStart, row * 2);
      this.scopeEnd = grown32(this.scopeEnd, row * 2);
    }
    this.scopeStart[row] = 0;
    this.scopeEnd[row] = 0;
    this.scopeCount = row + 1;
    return row;
  }

  /** Flags every span from row `first` on. */
  markMalformed(first: number): void {
    if (first === this.count) this.brokenWithoutSpan = true;
    for (let row = first; row < this.count; row++) {
      if ((this.flags[row]! & SPAN_MALFORMED) !== 0) continue;
      this.flags[row]! |= SPAN_MALFORMED;
      this.malformedCount++;
    }
  }
}
