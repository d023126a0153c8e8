/**
 * Control characters, formatting characters (bidirectional overrides, zero width, tags), line separators, halves of
 * surrogate pairs, private and unassigned ones: everything that can move a cursor, change colours, or hide.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu;

/** What has no width, and what fills two columns of a terminal. East Asian Width of Unicode, in coarse blocks. */
const ZERO_WIDTH = /^\p{M}$/u;
const DOUBLE_WIDTH =
  /^[\p{Emoji_Presentation}\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{17000}-\u{18AFF}\u{1B000}-\u{1B2FF}\u{20000}-\u{3FFFF}]$/u;
const ASCII = /^[\u0020-\u007E]*$/;

/**
 * Text that somebody else wrote, made safe to show on a terminal: nothing is dropped, what could act on the terminal or
 * deceive its reader is spelled out (`\x1b`, `\u{202e}`).
 */
export function printable(text: string): string {
  if (ASCII.test(text)) return text;
  return text.replace(UNPRINTABLE, spell);
}

/** As {@link printable}, but line ends stay: for messages that have several lines. */
export function printableLines(text: string): string {
  return text
    .split("\n")
    .map((line) => printable(line.replaceAll("\t", "  ")))
    .join("\n");
}

/** JSON whose strings are spelled in escapes where {@link printable} would spell them: the same value, safe to show. */
export function safeJson(value: unknown, indent?: number): string {
  const json = JSON.stringify(value, undefined, indent);
  return json
    .split("\n")
    .map((line) => (ASCII.test(line) ? line : line.replace(UNPRINTABLE, jsonEscape)))
    .join("\n");
}

/** Columns of a terminal that a printable text fills. Right for common scripts; no terminal agrees on all of Unicode. */
export function textWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** Fills up with spaces to `width` columns. */
export function padText(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - textWidth(text)));
}

/** Cuts a printable text to `width` columns, in the middle: the end of a path or URL says most. */
export function cutText(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  if (width < 1) return "";
  const characters = Array.from(text);
  const headWidth = Math.floor((width - 1) / 3);
  const head = take(characters, headWidth);
  const tail = take(characters.toReversed(), width - 1 - headWidth).toReversed();
  return `${head.join("")}…${tail.join("")}`;
}

/** The first characters that fit into `width` columns. */
function take(characters: readonly string[], width: number): string[] {
  const taken: string[] = [];
  let left = width;
  for (const character of characters) {
    left -= characterWidth(character);
    if (left < 0) break;
    taken.push(character);
  }
  return taken;
}

function characterWidth(character: string): number {
  if (ASCII.test(character)) return 1;
  if (ZERO_WIDTH.test(character)) return 0;
  return DOUBLE_WIDTH.test(character) ? 2 : 1;
}

function spell(character: string): string {
  const code = character.codePointAt(0)!;
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}

function jsonEscape(character: string): string {
  return Array.from({ length: character.length }, (_, i) => {
    const unit = character.charCodeAt(i);
    return `\\u${unit.toString(16).padStart(4, "0")}`;
  }).join("");
}
