import { AttributeSlot, checkContainer, isContainer, parseKeyValue } from "./attributes.ts";
import { checkEvent, checkLink, checkStatus } from "./check.ts";
import { INVALID_FIELD } from "./errors.ts";
import { SPAN } from "./shapes.ts";
import { SPAN_AUDIT, SPAN_MALFORMED } from "./span-index.ts";
import { I64, LEN, VARINT, uint32At, valueEnd, varint32End, varintEnd } from "./wire.ts";

const AUDIT_ACTION = Uint8Array.from("audit.action", (letter) => letter.charCodeAt(0));
const AUDIT_ACTION_LENGTH = AUDIT_ACTION.length;
const SPAN_WIRE = SPAN.wire;
const SPAN_SINGULAR = SPAN.singular;
const LAST_FIELD = SPAN_WIRE.length - 1;
const ATTRIBUTE_TAG = (9 << 3) | LEN;
/** Trace id and span id. */
const REQUIRED = (1 << 1) | (1 << 2);

const slot = new AttributeSlot();

/**
 * The flags of the Span message in [start, end) of `bytes`; `view` shows the same bytes. Looks at every byte of the
 * message and at no other.
 *
 * It follows the rules of `FieldCursor`, written out once more because this loop runs for every field of every span:
 * locals instead of members, and the frame of a usual attribute is read as two words.
 */
export function scanSpan(bytes: Uint8Array, view: DataView, start: number, end: number): number {
  let flags = 0;
  let pos = usualIdsEnd(view, start, end);
  let seen = pos === start ? 0 : REQUIRED;
  while (pos < end) {
    let tag = bytes[pos]!;
    if (tag === ATTRIBUTE_TAG && end - pos >= 4) {
      const head = view.getInt32(pos, true);
      const next = usualAttributeEnd(view, head, pos, end);
      if (next > 0) {
        if (head >>> 24 === AUDIT_ACTION_LENGTH && isAuditAction(bytes, pos + 4)) flags = SPAN_AUDIT;
        pos = next;
        continue;
      }
    }
    if (tag < 0x80) {
      pos++;
    } else {
      const next = varint32End(bytes, pos, end);
      if (next < 0) return flags | SPAN_MALFORMED;
      tag = uint32At(bytes, pos, next);
      pos = next;
    }
    const field = tag >>> 3;
    const wire = tag & 7;
    if (field <= LAST_FIELD) {
      // Field 0 has no wire type that could be equal.
      const bit = 1 << field;
      if (SPAN_WIRE[field] !== wire || (seen & bit & SPAN_SINGULAR) !== 0) return flags | SPAN_MALFORMED;
      seen |= bit;
    }
    if (wire === I64) {
      pos += 8;
      if (pos > end) return flags | SPAN_MALFORMED;
    } else if (wire === VARINT) {
      pos = pos < end && bytes[pos]! < 0x80 ? pos + 1 : varintEnd(bytes, pos, end);
      if (pos < 0) return flags | SPAN_MALFORMED;
    } else if (wire === LEN) {
      const from = pos < end && bytes[pos]! < 0x80 ? pos + 1 : varint32End(bytes, pos, end);
      if (from < 0) return flags | SPAN_MALFORMED;
      const length = from === pos + 1 ? bytes[pos]! : uint32At(bytes, pos, from);
      if (length > end - from) return flags | SPAN_MALFORMED;
      pos = from + length;
      const code = field === 9 ? checkSpanAttribute(bytes, from, pos) : checkPart(bytes, field, from, pos);
      if (code < 0) return flags | SPAN_MALFORMED;
      flags |= code;
    } else {
      pos = valueEnd(bytes, pos, end, tag, 1);
      if (pos < 0) return flags | SPAN_MALFORMED;
    }
  }
  return (seen & REQUIRED) === REQUIRED ? flags : flags | SPAN_MALFORMED;
}

/** The position after trace id and span id if the span begins with these two, both valid; otherwise `start`. */
function usualIdsEnd(view: DataView, start: number, end: number): number {
  if (end - start < 28) return start;
  if (view.getInt16(start, true) !== 0x100a || view.getInt16(start + 18, true) !== 0x0812) return start;
  const trace =
    view.getInt32(start + 2) | view.getInt32(start + 6) | view.getInt32(start + 10) | view.getInt32(start + 14);
  const span = view.getInt32(start + 20) | view.getInt32(start + 24);
  return trace !== 0 && span !== 0 ? start + 28 : start;
}

/**
 * The position after the attribute whose tag stands at `pos` and that begins with the four bytes `head`, if it is of the
 * usual form: shorter than 128 bytes, key before value, the value a string, bool, integer of up to two bytes or
 * double. 0 if it is not, which says nothing bad about it.
 */
function usualAttributeEnd(view: DataView, head: number, pos: number, end: number): number {
  // Tag, length, tag of the key, length of the key.
  const length = (head >>> 8) & 0xff;
  const attributeEnd = pos + 2 + length;
  if (length > 0x7f || attributeEnd > end || (head & 0xff0000) !== 0x0a0000) return 0;
  // All lengths within are below 128 too, or they would reach past the end.
  const keyEnd = pos + 4 + (head >>> 24);
  const left = attributeEnd - keyEnd;
  if (left < 4) return 0;
  // Tag and length of the value, tag of its member, first byte of that.
  const value = view.getInt32(keyEnd, true);
  if ((value & 0xffff) !== (0x12 | ((left - 2) << 8))) return 0;
  const first = value >>> 24;
  switch ((value >>> 16) & 0xff) {
    case 0x0a:
      return first === left - 4 ? attributeEnd : 0;
    case 0x10:
    case 0x18:
      if (first < 0x80) return left === 4 ? attributeEnd : 0;
      return left === 5 && view.getUint8(keyEnd + 4) < 0x80 ? attributeEnd : 0;
    case 0x21:
      return left === 11 ? attributeEnd : 0;
    default:
      return 0;
  }
}

/** SPAN_AUDIT or 0, or a failure. */
function checkSpanAttribute(bytes: Uint8Array, start: number, end: number): number {
  let code = parseKeyValue(bytes, start, end, slot);
  if (code < 0) return code;
  const audit = slot.keyEnd - slot.keyStart === AUDIT_ACTION_LENGTH && isAuditAction(bytes, slot.keyStart);
  if (isContainer(slot.kind)) code = checkContainer(bytes, slot.kind, slot.valueStart, slot.valueEnd, 0);
  return code === 0 && audit ? SPAN_AUDIT : code;
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
