import { INVALID_FIELD, INVALID_TAG, INVALID_WIRE_TYPE, REPEATED_FIELD, TRUNCATED } from "./errors.ts";
import { type MessageShape, UNKNOWN_FIELD } from "./shapes.ts";
import { LEN, uint32At, valueEnd, varint32End } from "./wire.ts";

const NOTHING = new Uint8Array(0);

/**
 * Walks the fields of one message and holds every rule about a single field: it lies inside the message, a known
 * field has its wire type, a singular one (or a member of a oneof) occurs once, an id has its length.
 */
export class FieldCursor {
  readonly shape: MessageShape;
  bytes: Uint8Array = NOTHING;
  /** End of the message. */
  end = 0;
  /** Where the next field begins. */
  pos = 0;
  /** Where the current field's tag begins. */
  fieldStart = 0;
  field = 0;
  /** The current field's value: a varint's bytes, 4 or 8 bytes, or the payload of a length-delimited field. */
  valueStart = 0;
  valueEnd = 0;
  /** 0, or the failure that ended the walk. */
  error = 0;
  /** A singular field occurred again and the cursor was made to go on. */
  repeated = false;
  readonly #goOn: boolean;
  #seen = 0;

  /** @param options.repeats `"note"`: a repeated singular field sets `repeated` instead of ending the walk. */
  constructor(shape: MessageShape, options?: { repeats: "note" }) {
    this.shape = shape;
    this.#goOn = options?.repeats === "note";
  }

  open(bytes: Uint8Array, start: number, end: number): void {
    this.bytes = bytes;
    this.pos = start;
    this.end = end;
    this.fieldStart = start;
    this.error = 0;
    this.repeated = false;
    this.#seen = 0;
  }

  /** Goes on at `pos`, behind fields that were read without the cursor; bit n of `seen` is field n. */
  resume(pos: number, seen: number): void {
    this.pos = pos;
    this.#seen = seen;
  }

  /** True when there is a field; false at the end of the message and on damage (see `error`). */
  next(): boolean {
    const { bytes, end } = this;
    let pos = this.pos;
    if (pos >= end) return false;
    this.fieldStart = pos;
    let tag = bytes[pos]!;
    if (tag < 0x80) {
      pos++;
    } else {
      const next = varint32End(bytes, pos, end);
      if (next < 0) return this.#fail(next);
      tag = uint32At(bytes, pos, next);
      pos = next;
    }
    const field = tag >>> 3;
    const shape = this.shape;
    if (field < shape.wire.length) {
      const code = this.#admit(field, tag & 7);
      if (code < 0) return this.#fail(code);
    }
    let start = pos;
    let stop: number;
    if ((tag & 7) === LEN) {
      // Split apart from valueEnd because here the payload's start is wanted too.
      start = varint32End(bytes, pos, end);
      if (start < 0) return this.#fail(start);
      const length = uint32At(bytes, pos, start);
      if (length > end - start) return this.#fail(TRUNCATED);
      stop = start + length;
    } else {
      stop = valueEnd(bytes, pos, end, tag, 1);
      if (stop < 0) return this.#fail(stop);
    }
    if (field < shape.wire.length) {
      const idLength = shape.idLength[field]!;
      if (idLength !== 0 && stop !== start && stop - start !== idLength) return this.#fail(INVALID_FIELD);
    }
    this.field = field;
    this.valueStart = start;
    this.valueEnd = stop;
    this.pos = stop;
    return true;
  }

  #admit(field: number, wire: number): number {
    if (field === 0) return INVALID_TAG;
    const shape = this.shape;
    const expected = shape.wire[field]!;
    if (expected === UNKNOWN_FIELD) return 0;
    if (expected !== wire) return INVALID_WIRE_TYPE;
    const bit = 1 << field;
    if ((shape.singular & bit) !== 0) {
      if ((this.#seen & (shape.oneof ? shape.singular : bit)) !== 0) {
        if (!this.#goOn) return REPEATED_FIELD;
        this.repeated = true;
      }
      this.#seen |= bit;
    }
    return 0;
  }

  #fail(code: number): false {
    this.error = code;
    return false;
  }
}
