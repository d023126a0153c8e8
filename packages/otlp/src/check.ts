import { AttributeSlot, checkContainer, isContainer, parseKeyValue } from "./attributes.ts";
import { FieldCursor } from "./cursor.ts";
import { ENTITY_REF, EVENT, LINK, RESOURCE, SCOPE, STATUS } from "./shapes.ts";

// All checks return 0 or a failure. They look at every byte of their message: what passes here can be read by any
// protobuf implementation, so that a forwarded request is not refused behind us for one span in it. The exception is
// UTF-8, which some implementations demand of strings and which is not checked: strings are the producer's bytes.

const slot = new AttributeSlot();
const events = new FieldCursor(EVENT);
const links = new FieldCursor(LINK);
const statuses = new FieldCursor(STATUS);
const resources = new FieldCursor(RESOURCE);
const entityRefs = new FieldCursor(ENTITY_REF);
const scopes = new FieldCursor(SCOPE);

/** Checks a KeyValue message with all that its value holds. */
function checkAttribute(bytes: Uint8Array, start: number, end: number): number {
  const code = parseKeyValue(bytes, start, end, slot);
  if (code < 0 || !isContainer(slot.kind)) return code;
  return checkContainer(bytes, slot.kind, slot.valueStart, slot.valueEnd, 0);
}

export function checkEvent(bytes: Uint8Array, start: number, end: number): number {
  return checkWithAttributes(events, 3, bytes, start, end);
}

export function checkLink(bytes: Uint8Array, start: number, end: number): number {
  return checkWithAttributes(links, 4, bytes, start, end);
}

export function checkScope(bytes: Uint8Array, start: number, end: number): number {
  return checkWithAttributes(scopes, 3, bytes, start, end);
}

export function checkStatus(bytes: Uint8Array, start: number, end: number): number {
  // A code and no message: nearly every status there is.
  if (end - start === 2 && bytes[start] === 0x18 && bytes[start + 1]! < 0x80) return 0;
  return checkFlat(statuses, bytes, start, end);
}

export function checkResource(bytes: Uint8Array, start: number, end: number): number {
  resources.open(bytes, start, end);
  while (resources.next()) {
    let code = 0;
    if (resources.field === 1) code = checkAttribute(bytes, resources.valueStart, resources.valueEnd);
    else if (resources.field === 3) code = checkFlat(entityRefs, bytes, resources.valueStart, resources.valueEnd);
    if (code < 0) return code;
  }
  return resources.error;
}

function checkFlat(cursor: FieldCursor, bytes: Uint8Array, start: number, end: number): number {
  cursor.open(bytes, start, end);
  while (cursor.next());
  return cursor.error;
}

function checkWithAttributes(
  cursor: FieldCursor,
  attributes: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  cursor.open(bytes, start, end);
  while (cursor.next()) {
    if (cursor.field !== attributes) continue;
    const code = checkAttribute(bytes, cursor.valueStart, cursor.valueEnd);
    if (code < 0) return code;
  }
  return cursor.error;
}
