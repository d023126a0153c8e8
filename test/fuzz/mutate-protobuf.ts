import type { Random } from "../faults/random.ts";
import { allFields, message, varintBytes, type Field } from "./tree.ts";

const BIG_LENGTHS = [0x7f, 0xff, 0x3fff, 0x7fffffff, 0xffffffff, 0x1_0000_0000, 2 ** 40, 2 ** 53 - 1];
const DEPTHS = [1, 5, 30, 31, 63, 64, 65, 200];

type Mutation = (list: Field[], at: number, random: Random) => void;

/** A field that no OTLP message has. */
function unknown(random: Random, depth = 0): Field {
  const number = random.pick([17, 99, 1000, 18_999, 2 ** 29 - 1]);
  const wire = random.pick([0, 1, 2, 5, 3]);
  if (wire === 1 || wire === 5) return { number, wire, value: Buffer.alloc(wire === 1 ? 8 : 4, 7) };
  if (wire === 2) return { number, wire, value: Buffer.from("unknown") };
  if (wire === 0) return { number, wire, value: varintBytes(random.between(0, 2 ** 50)) };
  const inner = depth < random.pick(DEPTHS) ? groupBytes(random, number, random.pick(DEPTHS)) : new Uint8Array(0);
  return { number, wire, value: inner };
}

/** What follows a group's start: groups in it, and mostly their ends. */
function groupBytes(random: Random, number: number, depth: number): Uint8Array {
  const start = varintBytes((number * 8 + 3) % 2 ** 32);
  const end = varintBytes((number * 8 + 4) % 2 ** 32);
  const ends = depth + (random.chance(0.8) ? 1 : random.between(0, 2));
  return Buffer.concat([...Array<Uint8Array>(depth).fill(start), ...Array<Uint8Array>(ends).fill(end)]);
}

/** An AnyValue in an AnyValue, as arrays or as kvlists. */
function deepValue(random: Random): Field[] {
  const array = random.chance(0.5);
  let value: Field[] = [{ number: 1, wire: 2, value: Buffer.from("deep") }];
  for (let depth = random.pick(DEPTHS); depth > 0; depth--) {
    value = array ? [message(5, [message(1, value)])] : [message(6, [message(1, [message(2, value)])])];
  }
  return value;
}

const MUTATIONS: readonly Mutation[] = [
  // Another field, known or not.
  (list, at, random) => (list[at]!.number = random.pick([0, 1, 2, 3, 4, 5, 9, 11, 15, 16, 17, 2 ** 29 - 1, 2 ** 29])),
  // Another wire type for the same bytes.
  (list, at, random) => (list[at]!.wire = random.between(0, 7)),
  // A length that is a little, or far too, long or short.
  (list, at, random) => (list[at]!.lengthDelta = random.pick([-100, -5, -2, -1, 1, 2, 5, 100, 10_000])),
  (list, at, random) => (list[at]!.lengthDelta = random.pick(BIG_LENGTHS)),
  // Lengths and tags in more bytes than they need, and in more than are allowed.
  (list, at, random) => (list[at]!.lengthSize = random.between(2, 12)),
  (list, at, random) => (list[at]!.tagSize = random.between(2, 12)),
  (list, at, random) => (list[at]!.rawLength = Buffer.alloc(random.between(1, 20), random.pick([0x80, 0xff]))),
  // A varint of ten bytes and more.
  (list, at, random) => {
    list[at]!.wire = 0;
    const ones = Buffer.alloc(random.between(8, 14), 0xff);
    ones[ones.length - 1] = random.pick([0, 1, 2, 0x7f]);
    list[at]!.value = ones;
  },
  // The same again: singular fields and members of a oneof occur twice.
  (list, at) => list.splice(at, 0, list[at]!),
  (list, at, random) => list.push(...Array<Field>(random.between(1, 40)).fill(list[at]!)),
  (list, at) => list.splice(at, 1),
  (list, _at, random) => random.shuffle(list),
  (list, at, random) => list.splice(at, 0, unknown(random)),
  (list, at, random) => list.splice(at, 0, ...Array.from({ length: random.between(2, 6) }, () => unknown(random))),
  // A message that ends in the middle of a field.
  (list, at, random) => {
    const { value } = list[at]!;
    if (!Array.isArray(value)) list[at]!.value = value.subarray(0, random.between(0, value.length));
    else value.splice(random.between(0, value.length));
  },
  // A message where bytes belong, and bytes where a message belongs.
  (list, at, random) => (list[at]!.value = random.chance(0.5) ? [unknown(random)] : Buffer.from(bytesOf(random, 20))),
  (list, at, random) => (list[at]!.value = deepValue(random)),
  // An id of another length.
  (list, at, random) =>
    (list[at]!.value = Buffer.alloc(random.pick([0, 1, 7, 8, 9, 15, 16, 17, 32]), random.between(0, 255))),
];

/** Breaks a tree in one to three places. */
export function mutateTree(fields: Field[], random: Random): void {
  for (let times = random.pick([1, 1, 1, 2, 3]); times > 0; times--) {
    const all = allFields(fields);
    if (all.length === 0) return;
    const [list, at] = random.pick(all);
    random.pick(MUTATIONS)(list, at, random);
  }
}

function bytesOf(random: Random, length: number): number[] {
  return Array.from({ length }, () => random.between(0, 255));
}

/** Breaks bytes, whatever they are. */
export function mutateBytes(original: Buffer, random: Random): Buffer {
  const broken = Buffer.from(original);
  if (broken.length === 0) return broken;
  const at = random.between(0, broken.length - 1);
  switch (random.between(0, 5)) {
    case 0:
      return broken.subarray(0, at);
    case 1:
      return Buffer.concat([
        broken.subarray(0, at),
        Buffer.from(bytesOf(random, random.between(1, 9))),
        broken.subarray(at),
      ]);
    case 2:
      return Buffer.concat([broken.subarray(0, at), broken.subarray(at + random.between(1, 9))]);
    default:
      for (let flips = random.pick([1, 1, 2, 5]); flips > 0; flips--)
        broken[random.between(0, broken.length - 1)]! ^= 1 << random.between(0, 7);
      return broken;
  }
}

/** The start of one and the end of another. */
export function splice(a: Buffer, b: Buffer, random: Random): Buffer {
  return Buffer.concat([a.subarray(0, random.between(0, a.length)), b.subarray(random.between(0, b.length))]);
}
