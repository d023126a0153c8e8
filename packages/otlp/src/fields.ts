import { AttributeList, grown32 } from "./attributes.ts";
import { fixed64At } from "./wire.ts";

const NOTHING = new Uint8Array(0);

/** A span as offsets into the request's bytes; (0, 0) for what is absent. Reusable. */
export class SpanFields {
  bytes: Uint8Array = NOTHING;
  /** The Span message body. */
  start = 0;
  end = 0;
  traceIdStart = 0;
  traceIdEnd = 0;
  spanIdStart = 0;
  spanIdEnd = 0;
  parentSpanIdStart = 0;
  parentSpanIdEnd = 0;
  traceStateStart = 0;
  traceStateEnd = 0;
  nameStart = 0;
  nameEnd = 0;
  kind = 0;
  /** Where the 8 bytes (little endian) of the time are, 0 if absent. */
  startTimeOffset = 0;
  endTimeOffset = 0;
  readonly attributes = new AttributeList();
  droppedAttributes = 0;
  statusCode = 0;
  statusMessageStart = 0;
  statusMessageEnd = 0;
  eventCount = 0;
  /** Event message bodies, valid up to `eventCount`. */
  eventStart = new Uint32Array(8);
  eventEnd = new Uint32Array(8);
  droppedEvents = 0;
  linkCount = 0;
  /** Link message bodies, valid up to `linkCount`. */
  linkStart = new Uint32Array(8);
  linkEnd = new Uint32Array(8);
  droppedLinks = 0;
  flags = 0;

  /** Nanoseconds since 1970, unsigned 64 bit; 0 if absent. */
  get startTime(): bigint {
    return this.startTimeOffset === 0 ? 0n : fixed64At(this.bytes, this.startTimeOffset);
  }

  /** Nanoseconds since 1970, unsigned 64 bit; 0 if absent. */
  get endTime(): bigint {
    return this.endTimeOffset === 0 ? 0n : fixed64At(this.bytes, this.endTimeOffset);
  }

  /** Forgets the last span. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.traceIdStart = this.traceIdEnd = this.spanIdStart = this.spanIdEnd = 0;
    this.parentSpanIdStart = this.parentSpanIdEnd = this.traceStateStart = this.traceStateEnd = 0;
    this.nameStart = this.nameEnd = this.statusMessageStart = this.statusMessageEnd = 0;
    this.kind = this.statusCode = this.flags = 0;
    this.startTimeOffset = this.endTimeOffset = 0;
    this.droppedAttributes = this.droppedEvents = this.droppedLinks = 0;
    this.eventCount = this.linkCount = 0;
    this.attributes.clear();
  }

  addEvent(start: number, end: number): void {
    const row = this.eventCount++;
    if (row === this.eventStart.length) {
      this.eventStart = grown32(this.eventStart, row * 2);
      this.eventEnd = grown32(this.eventEnd, row * 2);
    }
    this.eventStart[row] = start;
    this.eventEnd[row] = end;
  }

  addLink(start: number, end: number): void {
    const row = this.linkCount++;
    if (row === this.linkStart.length) {
      this.linkStart = grown32(this.linkStart, row * 2);
      this.linkEnd = grown32(this.linkEnd, row * 2);
    }
    this.linkStart[row] = start;
    this.linkEnd[row] = end;
  }
}

/** An InstrumentationScope as offsets; (0, 0) for what is absent. Reusable. */
export class ScopeFields {
  nameStart = 0;
  nameEnd = 0;
  versionStart = 0;
  versionEnd = 0;
  readonly attributes = new AttributeList();
  droppedAttributes = 0;
}

/** A span's event as offsets; (0, 0) for what is absent. Reusable. */
export class EventFields {
  /** Nanoseconds since 1970, unsigned 64 bit; 0 if absent. */
  time = 0n;
  nameStart = 0;
  nameEnd = 0;
  readonly attributes = new AttributeList();
  droppedAttributes = 0;
}

/** A span's link as offsets; (0, 0) for what is absent. Reusable. */
export class LinkFields {
  traceIdStart = 0;
  traceIdEnd = 0;
  spanIdStart = 0;
  spanIdEnd = 0;
  traceStateStart = 0;
  traceStateEnd = 0;
  readonly attributes = new AttributeList();
  droppedAttributes = 0;
  flags = 0;
}
