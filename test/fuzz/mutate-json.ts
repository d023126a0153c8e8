import type { Random } from "../faults/random.ts";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\]:,]/g;

const NUMBERS = [
  "1e999",
  "-1e999",
  "1e-999",
  "-0",
  "01",
  "1.",
  ".5",
  "+1",
  "0x10",
  "NaN",
  "Infinity",
  "-",
  "18446744073709551615",
  "18446744073709551616",
  "-9223372036854775809",
  "1.5",
  "1e3",
  "9".repeat(400),
  `1${"0".repeat(3_000)}`,
  `0.${"3".repeat(3_000)}`,
];
const STRINGS = [
  '"\\ud800"',
  '"\\udc00x"',
  '"\\ud83d\\ude00"',
  '"\\u12"',
  '"\\x41"',
  '"\\"',
  '"\\u0000"',
  '"a\nb"',
  '"\t"',
  '"',
  '""',
  '"NaN"',
  '"Infinity"',
  '"-1"',
  '"1e3"',
  '"0x1"',
  '"zz"',
  '"AAAA"',
  '"AA=A"',
  '"__proto__"',
  '"constructor"',
  '"traceId"',
  '"trace_id"',
  '"resource_spans"',
];
const LITERALS = [
  "null",
  "true",
  "false",
  "nul",
  "True",
  "undefined",
  "[]",
  "{}",
  "[[]]",
  "{}{}",
  "",
  ",",
  ":",
  "}",
  "]",
];
const DEPTHS = [10, 60, 64, 65, 100, 130, 500, 3_000];
/** Bytes that are no UTF-8, or none that may stand for themselves. */
const BYTES = [
  [0x80],
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf5, 0x80, 0x80, 0x80],
  [0xff],
  [0],
  [0x1f],
  [0xef, 0xbb, 0xbf],
];

type Mutation = (tokens: string[], at: number, random: Random) => void;

function nested(random: Random): string {
  const depth = random.pick(DEPTHS);
  const [open, close] = random.pick([
    ["[", "]"],
    ['{"a":', "}"],
    ['{"arrayValue":{"values":[', "]}}"],
    ['{"kvlistValue":{"values":[{"key":"k","value":', "}]}}"],
  ]);
  return (
    open.repeat(depth) +
    random.pick(['{"stringValue":"deep"}', "1", ""]) +
    close.repeat(depth - (random.chance(0.8) ? 0 : 1))
  );
}

/** The tokens from `at` to the end of the value that begins there. */
function valueEnd(tokens: readonly string[], at: number): number {
  let depth = 0;
  for (let i = at; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    if (depth <= 0) return i + 1;
  }
  return tokens.length;
}

const MUTATIONS: readonly Mutation[] = [
  (tokens, at, random) => (tokens[at] = random.pick(NUMBERS)),
  (tokens, at, random) => (tokens[at] = random.pick(STRINGS)),
  (tokens, at, random) => (tokens[at] = random.pick(LITERALS)),
  (tokens, at, random) => tokens.splice(at, valueEnd(tokens, at) - at, nested(random)),
  // Bad letters within a string, which keeps the rest of it.
  (tokens, at, random) => {
    const content = tokens[at]!.replaceAll('"', "");
    const middle = random.pick([
      ...STRINGS.map((one) => one.slice(1, -1)),
      ...BYTES.map((bytes) => Buffer.from(bytes).toString("latin1")),
    ]);
    tokens[at] = `"${content}${middle}"`;
  },
  // A member twice: the first, or a later one, of two that contradict each other.
  (tokens, at) => {
    const key = tokens.findIndex((token, i) => i >= at && tokens[i + 1] === ":" && token.startsWith('"'));
    if (key < 0) return;
    tokens.splice(key, 0, ...tokens.slice(key, valueEnd(tokens, key + 2)), ",");
  },
  (tokens, at, random) => tokens.splice(at, random.between(1, 3)),
  (tokens, at) => tokens.splice(at, 0, tokens[at]!),
  (tokens, at) => tokens.splice(at, valueEnd(tokens, at) - at),
  // Unknown members.
  (tokens, at, random) => {
    const open = tokens.indexOf("{", at);
    if (open >= 0) tokens.splice(open + 1, 0, `"unknown${random.between(0, 9)}":${nested(random)},`);
  },
  (tokens, at, random) => tokens.splice(at, 0, " \n\t\r".repeat(random.between(1, 50))),
  (tokens, at, random) => {
    const other = random.between(0, tokens.length - 1);
    [tokens[at], tokens[other]] = [tokens[other]!, tokens[at]!];
  },
];

/** Breaks a JSON text (latin1 of its bytes) in one to three places. */
export function mutateJson(json: Buffer, random: Random): Buffer {
  const tokens = json.toString("latin1").match(TOKEN) ?? [];
  for (let times = random.pick([1, 1, 1, 2, 3]); times > 0 && tokens.length > 0; times--) {
    random.pick(MUTATIONS)(tokens, random.between(0, tokens.length - 1), random);
  }
  return Buffer.from(tokens.join(""), "latin1");
}
