/** Marks a field number that a shape does not know. */
export const UNKNOWN_FIELD = 255;

/** Which fields a message has, for the checks of `FieldCursor`. Field numbers are those of opentelemetry-proto 1.x. */
export interface MessageShape {
  readonly name: string;
  /** Wire type by field number; `UNKNOWN_FIELD` where there is none. */
  readonly wire: Uint8Array;
  /** Bit mask of the field numbers that may occur once. */
  readonly singular: number;
  /** At most one of the singular fields may occur at all. */
  readonly oneof: boolean;
  /** Exact length by field number for ids that are this long or empty; 0 = any length. */
  readonly idLength: Uint8Array;
}

type WireName = "varint" | "fixed64" | "bytes" | "fixed32";
const WIRE: Readonly<Record<WireName, number>> = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 };

interface FieldShape {
  readonly wire: WireName;
  readonly repeated?: true;
  readonly id?: number;
}

const varint: FieldShape = { wire: "varint" };
const fixed64: FieldShape = { wire: "fixed64" };
const fixed32: FieldShape = { wire: "fixed32" };
const bytes: FieldShape = { wire: "bytes" };
const repeated: FieldShape = { wire: "bytes", repeated: true };
const traceId: FieldShape = { wire: "bytes", id: 16 };
const spanId: FieldShape = { wire: "bytes", id: 8 };

function shape(name: string, fields: Readonly<Record<number, FieldShape>>, oneof = false): MessageShape {
  const numbers = Object.keys(fields).map(Number);
  const size = Math.max(0, ...numbers) + 1;
  const wire = new Uint8Array(size).fill(UNKNOWN_FIELD);
  const idLength = new Uint8Array(size);
  let singular = 0;
  for (const number of numbers) {
    const field = fields[number]!;
    wire[number] = WIRE[field.wire];
    idLength[number] = field.id ?? 0;
    if (field.repeated !== true) singular |= 1 << number;
  }
  return { name, wire, singular, oneof, idLength };
}

export const REQUEST = shape("ExportTraceServiceRequest", { 1: repeated });
export const RESOURCE_SPANS = shape("ResourceSpans", { 1: bytes, 2: repeated, 3: bytes });
export const SCOPE_SPANS = shape("ScopeSpans", { 1: bytes, 2: repeated, 3: bytes });
export const RESOURCE = shape("Resource", { 1: repeated, 2: varint, 3: repeated });
export const ENTITY_REF = shape("EntityRef", { 1: bytes, 2: bytes, 3: repeated, 4: repeated });
export const SCOPE = shape("InstrumentationScope", { 1: bytes, 2: bytes, 3: repeated, 4: varint });
export const SPAN = shape("Span", {
  1: traceId,
  2: spanId,
  3: bytes,
  4: spanId,
  5: bytes,
  6: varint,
  7: fixed64,
  8: fixed64,
  9: repeated,
  10: varint,
  11: repeated,
  12: varint,
  13: repeated,
  14: varint,
  15: bytes,
  16: fixed32,
});
export const EVENT = shape("Span.Event", { 1: fixed64, 2: bytes, 3: repeated, 4: varint });
export const LINK = shape("Span.Link", { 1: traceId, 2: spanId, 3: bytes, 4: repeated, 5: varint, 6: fixed32 });
export const STATUS = shape("Status", { 2: bytes, 3: varint });
// key_strindex (3) and string_value_strindex (8) belong to profiles: in a span they have no meaning, but as members
// they may not occur beside the field whose place they take.
export const KEY_VALUE = shape("KeyValue", { 1: bytes, 2: bytes, 3: varint });
export const ANY_VALUE = shape(
  "AnyValue",
  { 1: bytes, 2: varint, 3: varint, 4: fixed64, 5: bytes, 6: bytes, 7: bytes, 8: varint },
  true,
);
export const ARRAY_VALUE = shape("ArrayValue", { 1: repeated });
export const KEY_VALUE_LIST = shape("KeyValueList", { 1: repeated });
