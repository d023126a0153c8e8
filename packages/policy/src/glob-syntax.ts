/** `*`: any run of characters within a segment. */
export const STAR = Symbol("*");
/** `?`: one character (UTF-16 code unit) other than `/`. */
export const ONE = Symbol("?");
/** `**`: any number of whole segments, also none. */
export const GLOBSTAR = Symbol("**");

export type GlobToken = string | typeof STAR | typeof ONE;
/** Neighbouring literals are one token; an empty segment has no token. */
export type GlobSegment = readonly GlobToken[] | typeof GLOBSTAR;

/** Longest pattern, in UTF-16 code units. */
const MAX_PATTERN_LENGTH = 512;
/** Most patterns that the braces of one pattern may stand for. */
const MAX_ALTERNATIVES = 128;

/** The pattern's text is not in the grammar; the message says what to write instead. */
export class GlobSyntaxError extends Error {
  override readonly name = "GlobSyntaxError";
}

/** Checks the characters that have a meaning elsewhere and none here, so that nothing is silently literal. */
export function checkPattern(pattern: string): void {
  const shown = JSON.stringify(pattern.length > 80 ? `${pattern.slice(0, 80)}…` : pattern);
  if (pattern === "") {
    throw new GlobSyntaxError(`the pattern is empty; write "none" for an absent value, "**" for anything`);
  }
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new GlobSyntaxError(
      `the pattern ${shown} has ${pattern.length} characters, at most ${MAX_PATTERN_LENGTH} are allowed`,
    );
  }
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(pattern)) {
    throw new GlobSyntaxError(`the pattern ${shown} has a control character`);
  }
  if (pattern.startsWith("!")) {
    throw new GlobSyntaxError(`the pattern ${shown} starts with "!"; negation is { not: … }, a literal is "\\!"`);
  }
  // An odd number of backslashes before a bracket or an extended-glob group escapes it.
  const bare = pattern.replaceAll(/\\./gs, "");
  if (bare.endsWith("\\")) {
    throw new GlobSyntaxError(`the pattern ${shown} ends in a lone "\\"`);
  }
  if (/[!?*+@]\(/.test(bare)) {
    throw new GlobSyntaxError(`the pattern ${shown} has an extended-glob group; use {a,b}, or escape the "("`);
  }
}

/** `a{b,c}` becomes `ab`, `ac`. Nested braces are allowed, ranges (`{1..3}`) are not. Escapes stay in the text. */
export function expandBraces(pattern: string): string[] {
  const reader = new BraceReader(pattern);
  const all = reader.sequence(0);
  return [...new Set(all)];
}

class BraceReader {
  readonly #pattern: string;
  #position = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  sequence(depth: number): string[] {
    let heads = [""];
    for (;;) {
      const char = this.#pattern[this.#position];
      if (char === undefined || (depth > 0 && (char === "," || char === "}"))) {
        return heads;
      }
      if (char === "}") {
        throw this.#error(`has "}" without "{"; escape a literal brace with "\\"`);
      }
      if (char === "{") {
        const tails = this.#alternatives(depth + 1);
        if (heads.length * tails.length > MAX_ALTERNATIVES) {
          throw this.#error(`stands for more than ${MAX_ALTERNATIVES} patterns`);
        }
        heads = heads.flatMap((head) => tails.map((tail) => head + tail));
      } else {
        const length = char === "\\" ? 2 : 1;
        const text = this.#pattern.slice(this.#position, this.#position + length);
        this.#position += length;
        heads = heads.map((head) => head + text);
      }
    }
  }

  #alternatives(depth: number): string[] {
    this.#position += 1;
    const all: string[] = [];
    let count = 0;
    for (;;) {
      all.push(...this.sequence(depth));
      count += 1;
      if (all.length > MAX_ALTERNATIVES) {
        throw this.#error(`stands for more than ${MAX_ALTERNATIVES} patterns`);
      }
      const end = this.#pattern[this.#position];
      this.#position += 1;
      if (end === undefined) {
        throw this.#error(`has "{" without "}"; escape a literal brace with "\\"`);
      }
      if (end === "}") {
        if (count < 2) {
          throw this.#error(`has braces without a comma; write {a,b}, ranges are not supported`);
        }
        return all;
      }
    }
  }

  #error(what: string): GlobSyntaxError {
    return new GlobSyntaxError(`the pattern ${JSON.stringify(this.#pattern)} ${what}`);
  }
}

/** Tokens of one brace-free pattern without a meaning of `/`: for names. `**` is the same as `*`. */
export function parseName(pattern: string): readonly GlobToken[] {
  return tokenize(pattern, true);
}

/** Segments of one brace-free pattern, split at `/`. */
export function parseSegments(pattern: string): GlobSegment[] {
  return splitUnescaped(pattern).map((text) => {
    if (text === "**") {
      return GLOBSTAR;
    }
    return tokenize(text, false);
  });
}

function splitUnescaped(pattern: string): string[] {
  const segments: string[] = [];
  let current = "";
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] ?? "";
    if (char === "\\") {
      i += 1;
      const next = pattern[i] ?? "";
      // An escaped slash is a slash.
      if (next === "/") {
        segments.push(current);
        current = "";
      } else {
        current += char + next;
      }
    } else if (char === "/") {
      segments.push(current);
      current = "";
    } else {
      current += char;
    }
  }
  segments.push(current);
  return segments;
}

function tokenize(text: string, isName: boolean): GlobToken[] {
  const tokens: GlobToken[] = [];
  let literal = "";
  const flush = (): void => {
    if (literal !== "") {
      tokens.push(literal);
      literal = "";
    }
  };
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? "";
    if (char === "\\") {
      i += 1;
      literal += text[i] ?? "";
    } else if (char === "?") {
      flush();
      tokens.push(ONE);
    } else if (char === "*") {
      flush();
      if (tokens.at(-1) === STAR) {
        if (!isName) {
          throw new GlobSyntaxError(
            `"**" has to stand alone between slashes, got ${JSON.stringify(text)}; use "*" within a segment`,
          );
        }
      } else {
        tokens.push(STAR);
      }
    } else {
      literal += char;
    }
  }
  flush();
  return tokens;
}

/** The segment's text if it has no wildcard. */
export function literalOf(segment: GlobSegment): string | undefined {
  if (segment === GLOBSTAR) {
    return undefined;
  }
  if (segment.length === 0) {
    return "";
  }
  const [only] = segment;
  return segment.length === 1 && typeof only === "string" ? only : undefined;
}

/** Joins neighbouring literals again after their texts were changed. */
export function joinLiterals(tokens: readonly GlobToken[]): GlobToken[] {
  const joined: GlobToken[] = [];
  for (const token of tokens) {
    const last = joined.at(-1);
    if (token === "") {
      continue;
    }
    if (typeof token === "string" && typeof last === "string") {
      joined[joined.length - 1] = last + token;
    } else {
      joined.push(token);
    }
  }
  return joined;
}
