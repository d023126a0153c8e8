import { AttributeSlot, checkContainer, parseKeyValue } from "./attributes.ts";
import { checkEvent, checkLink, checkStatus } from "./check.ts";
import { INVALID_FIELD, INVALID_TAG, INVALID_WIRE_TYPE, REPEATED_FIELD, TRUNCATED } from "./errors.ts";
import { SPAN } from "./shapes.ts";
import { SPAN_AUDIT, SPAN_MALFORMED } from "./span-index.ts";
import { I64, LEN, VARINT, uint32At, valueEnd, varint32End, varintEnd } from "./wire.ts";

const AUDIT_ACTION = Uint8Array.from("audit.action", (letter) => letter.charCodeAt(0));
const AUDIT_ACTION_LENGTH = AUDIT_ACTION.length;
const SPAN_WIRE = SPAN.wire;
const SPAN_SINGULAR = SPAN.singular;
const LAST_FIELD = SPAN_WIRE.length - 1;
/** Trace id and span id. */
const REQUIRED = (1 << 1) | (1 << 2);

const slot = new AttributeSlot();
let audit = false;

/** The flags of the Span message in [start, end). Looks at every byte of it and at no other. */
export function scanSpan(bytes: Uint8Array, start: number, end: number): number {
  audit = false;
  const code = checkSpan(bytes, start, end);
  return (audit ? SPAN_AUDIT : 0) | (code < 0 ? SPAN_MALFORMED : 0);
}

/**
 * Checks a Span message with all that it holds; returns 0 or a failure. It follows the rules of `FieldCursor`,
 * written out once more because this loop runs for every field of every span.
 */
export function checkSpan(bytes: Uint8Array, start: number, end: number): number {
  let pos = start;
  let seen = 0;
  while (pos < end) {
    let tag = bytes[pos]!;
    if (tag < 0x80) {
      pos++;
    } else {
      const next = varint32End(bytes, pos, end);
      if (next < 0) return next;
      tag = uint32At(bytes, pos, next);
      pos = next;
    }
    const field = tag >>> 3;
    const wire = tag & 7;
    if (field <= LAST_FIELD) {
      if (field === 0) return INVALID_TAG;
      if (SPAN_WIRE[field] !== wire) return INVALID_WIRE_TYPE;
      const bit = 1 << field;
      if ((seen & bit & SPAN_SINGULAR) !== 0) return REPEATED_FIELD;
      seen |= bit;
    }
    if (wire === LEN) {
      if (pos === end) return TRUNCATED;
      let length = bytes[pos]!;
      if (length < 0x80) {
        pos++;
      } else {
        const next = varint32End(bytes, pos, end);
        if (next < 0) return next;
        length = uint32At(bytes, pos, next);
        pos = next;
      }
      if (length > end - pos) return TRUNCATED;
      const code = field === 9 ? checkSpanAttribute(bytes, pos, pos + length) : checkPart(bytes, field, pos, pos + length);
      if (code < 0) return code;
      pos += length;
    } else if (wire === I64) {
      if (end - pos < 8) return TRUNCATED;
      pos += 8;
    } else if (wire === VARINT) {
      pos = pos < end && bytes[pos]! < 0x80 ? pos + 1 : varintEnd(bytes, pos, end);
      if (pos < 0) return pos;
    } else {
      pos = valueEnd(bytes, pos, end, tag, 1);
      if (pos < 0) return pos;
    }
  }
  return (seen & REQUIRED) === REQUIRED ? 0 : INVALID_FIELD;
}

function checkSpanAttribute(bytes: Uint8Array, start: number, end: number): number {
  const code = parseKeyValue(bytes, start, end, slot);
  if (code < 0) return code;
  if (slot.keyEnd - slot.keyStart === AUDIT_ACTION_LENGTH && isAuditAction(bytes, slot.keyStart)) audit = true;
  if (slot.kind === 5 || slot.kind === 6) {
    return checkContainer(bytes, slot.kind, slot.valueStart, slot.valueEnd, 0);
  }
  return 0;
}

function isAuditAction(bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < AUDIT_ACTION_LENGTH; i++) {
    if (bytes[start + i] !== AUDIT_ACTION[i]) return false;
  }
  return true;
}

/** Checks a length-delimited field other than an attribute. */
function checkPart(bytes: Uint8Array, field: number, start: number, end: number): number {
  switch (field) {
    case 1:
      return isId(bytes, start, end, 16) ? 0 : INVALID_FIELD;
    case 2:
      return isId(bytes, start, end, 8) ? 0 : INVALID_FIELD;
    case 4:
      return end === start || end - start === 8 ? 0 : INVALID_FIELD;
    case 11:
      return checkEvent(bytes, start, end);
    case 13:
      return checkLink(bytes, start, end);
    case 15:
      return checkStatus(bytes, start, end);
    default:
      return 0;
  }
}

/** OTLP calls an id of another length or of zeros only invalid. */
export function isId(bytes: Uint8Array, start: number, end: number, length: number): boolean {
  if (end - start !== length) return false;
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return true;
  return false;
}
