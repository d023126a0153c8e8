import * as fc from "fast-check";

// Requests as hostile or merely unusual producers write them, byte by byte: fields in any order, unknown fields and
// groups anywhere, lengths and tags padded. All of it is valid protobuf and valid OTLP; tests break it afterwards.

type Bytes = Uint8Array;
type Arb = fc.Arbitrary<Bytes>;

export function concat(parts: readonly Bytes[]): Bytes {
  return new Uint8Array(Buffer.concat(parts));
}

/** A varint, padded with zeros to at least `size` bytes. */
export function varint(value: number | bigint, size = 1): Bytes {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n || bytes.length < size);
  bytes.push(bytes.pop()! & 0x7f);
  return Uint8Array.from(bytes);
}

export function tag(field: number, wire: number, size = 1): Bytes {
  return varint(field * 8 + wire, size);
}

/** A length-delimited field. */
export function len(field: number, payload: Bytes | string, size = 1): Bytes {
  const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
  return concat([tag(field, 2), varint(bytes.length, size), bytes]);
}

// Mostly short forms, as in life: the fast paths and the slow ones both get their share.
const padding = fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.integer({ min: 2, max: 5 }) });
const int64 = fc.oneof(
  fc.integer({ min: -3, max: 300 }).map(BigInt),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const uint32 = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 0xffffffff }));
const letters = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: "grapheme", maxLength: 200 }));

function field(number: number, wire: number, value: Arb): Arb {
  return fc.tuple(padding, value).map(([size, bytes]) => concat([tag(number, wire, size), bytes]));
}

function lenField(number: number, payload: Arb): Arb {
  return fc
    .tuple(padding, padding, payload)
    .map(([a, b, bytes]) => concat([tag(number, 2, a), varint(bytes.length, b), bytes]));
}

const text = (number: number) =>
  lenField(
    number,
    letters.map((value) => new Uint8Array(Buffer.from(value))),
  );
const varintField = (number: number, value: fc.Arbitrary<number | bigint>) =>
  field(
    number,
    0,
    value.map((v) => varint(v)),
  );
const fixed = (number: number, size: 4 | 8) =>
  field(number, size === 8 ? 1 : 5, fc.uint8Array({ minLength: size, maxLength: size }));
const id = (number: number, size: number) =>
  lenField(
    number,
    fc.uint8Array({ minLength: size, maxLength: size }).map((bytes) => Uint8Array.of(bytes[0]! | 1, ...bytes.slice(1))),
  );

/** Unknown fields, groups in groups among them. */
export const unknownField: Arb = fc.letrec<{ unknown: Bytes }>((tie) => ({
  unknown: fc.integer({ min: 17, max: 100_000 }).chain((number) =>
    fc.oneof(
      { depthSize: "small", maxDepth: 4 },
      varintField(number, int64),
      fixed(number, 8),
      fixed(number, 4),
      lenField(number, fc.uint8Array({ maxLength: 20 })),
      fc
        .array(tie("unknown"), { maxLength: 3 })
        .map((inner) => concat([tag(number, 3), ...inner, tag(number, 4)])),
    ),
  ),
})).unknown;

/** The given fields in any order, each optional unless in `required`, with unknown fields between. */
function message(optional: readonly Arb[], required: readonly Arb[] = []): Arb {
  const some = optional.map((arb) => fc.option(arb, { nil: new Uint8Array(0) }));
  const unknown = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Bytes[]>([]) },
    { weight: 1, arbitrary: fc.array(unknownField, { maxLength: 2 }) },
  );
  return fc.tuple(fc.tuple(...required, ...some), unknown).chain(([fields, extra]) => {
    const all = [...fields, ...extra];
    const shuffled = fc.shuffledSubarray(all, { minLength: all.length });
    return fc.oneof({ weight: 1, arbitrary: fc.constant(all) }, { weight: 1, arbitrary: shuffled }).map(concat);
  });
}

const many = (arb: Arb, maxLength: number) => fc.array(arb, { maxLength }).map(concat);

const { anyValue } = fc.letrec<{ anyValue: Bytes; keyValue: Bytes }>((tie) => ({
  anyValue: fc.oneof(
    { depthSize: "small", maxDepth: 3 },
    text(1),
    varintField(2, fc.constantFrom(0, 1)),
    varintField(3, int64),
    field(
      4,
      1,
      fc.double().map((value) => new Uint8Array(new Float64Array([value]).buffer)),
    ),
    lenField(7, fc.uint8Array({ maxLength: 30 })),
    fc.constant(new Uint8Array(0)),
    lenField(5, many(lenField(1, tie("anyValue")), 3)),
    lenField(6, many(lenField(1, tie("keyValue")), 3)),
  ),
  keyValue: message([lenField(2, tie("anyValue"))], [text(1)]),
}));

const auditAction = lenField(9, fc.constant(concat([len(1, "audit.action"), len(2, len(1, "READ"))])));
const keyValue = (number: number) => {
  const usual = message([], [text(1), lenField(2, anyValue)]);
  const other = message([text(1), lenField(2, anyValue)]);
  return lenField(number, fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: other }));
};
const attributes = (number: number) => many(keyValue(number), 4);

const event = lenField(11, message([fixed(1, 8), text(2), attributes(3), varintField(4, uint32)]));
const link = lenField(
  13,
  message([id(1, 16), id(2, 8), text(3), attributes(4), varintField(5, uint32), fixed(6, 4)]),
);
const status = lenField(15, message([text(2), varintField(3, fc.integer({ min: 0, max: 2 }))]));

/** A Span message body. */
export const spanBody: Arb = message(
  [
    text(3),
    id(4, 8),
    text(5),
    varintField(6, fc.integer({ min: 0, max: 5 })),
    fixed(7, 8),
    fixed(8, 8),
    attributes(9),
    varintField(10, uint32),
    many(event, 2),
    varintField(12, uint32),
    many(link, 2),
    varintField(14, uint32),
    status,
    fixed(16, 4),
    auditAction,
  ],
  [id(1, 16), id(2, 8)],
);

const entityRef = lenField(3, message([text(1), text(2), many(text(3), 2), many(text(4), 2)]));
/** A Resource message body. */
const resourceBody: Arb = message([attributes(1), varintField(2, uint32), entityRef]);
const scopeBody = message([text(1), text(2), attributes(3), varintField(4, uint32)]);
const scopeSpans = message([lenField(1, scopeBody), many(lenField(2, spanBody), 4), text(3)]);
const resourceSpans = message([lenField(1, resourceBody), many(lenField(2, scopeSpans), 2), text(3)]);

/** An ExportTraceServiceRequest that OTLP allows, in any form that protobuf allows. */
export const request: Arb = message([many(lenField(1, resourceSpans), 3)]);
