import { LedgerError } from "./errors.ts";

const VARINT = 0;
const I64 = 1;
const LEN = 2;
const GROUP = 3;
const GROUP_END = 4;
const I32 = 5;
const MAX_GROUPS = 64;

/**
 * A step over the fields of ArrayValue, KeyValueList and AnyValue. `scanTraces` has checked them before; what it would
 * not have let through throws LedgerError CORRUPT here and never reads outside [start, end).
 */
export class WireField {
  number = 0;
  /** Payload of a length-delimited field; the value's bytes of the others. */
  start = 0;
  end = 0;

  /** Reads the field at `at`. Returns where the next one begins. */
  read(bytes: Uint8Array, at: number, end: number): number {
    const next = varintEnd(bytes, at, end);
    const tag = Number(varintAt(bytes, at, next));
    this.number = Math.floor(tag / 8);
    return this.#value(bytes, next, end, tag & 7);
  }

  /** Reads an AnyValue message: `number` becomes its ValueKind (0 for none), `start` and `end` its member's payload. */
  readMember(bytes: Uint8Array, start: number, end: number): void {
    let number = 0;
    let from = start;
    let to = start;
    for (let at = start; at < end;) {
      at = this.read(bytes, at, end);
      if (this.number < 1 || this.number > 7) continue;
      number = this.number;
      from = this.start;
      to = this.end;
    }
    this.number = number;
    this.start = from;
    this.end = to;
  }

  #value(bytes: Uint8Array, at: number, end: number, wire: number): number {
    this.start = at;
    let next: number;
    if (wire === LEN) {
      this.start = varintEnd(bytes, at, end);
      next = this.start + Number(varintAt(bytes, at, this.start));
    } else if (wire === VARINT) next = varintEnd(bytes, at, end);
    else if (wire === I64) next = at + 8;
    else if (wire === I32) next = at + 4;
    else if (wire === GROUP) next = this.#skipGroup(bytes, at, end);
    else throw broken(at);
    if (next > end) throw broken(at);
    this.end = next;
    return next;
  }

  /** Unknown fields may be groups, nested too. */
  #skipGroup(bytes: Uint8Array, start: number, end: number): number {
    let open = 1;
    let at = start;
    while (open > 0) {
      const next = varintEnd(bytes, at, end);
      const wire = bytes[at]! & 7;
      at = next;
      if (wire === GROUP) open++;
      else if (wire === GROUP_END) open--;
      else at = this.#value(bytes, next, end, wire);
      if (open > MAX_GROUPS) throw broken(at);
    }
    return at;
  }
}

/** The position after the varint at `at`. */
function varintEnd(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i < end && i < at + 10; i++) if (bytes[i]! < 0x80) return i + 1;
  throw broken(at);
}

/** The varint in [start, end), unsigned. */
export function varintAt(bytes: Uint8Array, start: number, end: number): bigint {
  let value = 0n;
  for (let i = end - 1; i >= start; i--) value = (value << 7n) | BigInt(bytes[i]! & 0x7f);
  return value;
}

export function broken(at: number): LedgerError {
  return new LedgerError("CORRUPT", `an attribute value breaks off at byte ${at}`);
}
