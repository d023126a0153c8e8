import { GLOBSTAR, literalOf, ONE, STAR, type GlobSegment, type GlobToken } from "./glob-syntax.ts";

export type TextTest = (text: string) => boolean;

// Own matching instead of a regular expression: what is matched comes from the agent, and `**/*a*a*a*b` as picomatch's
// regular expression took 45 s on 600 characters. Going back only to the last star makes it length x length at worst,
// which loses nothing: a shorter match of an earlier star leaves the later ones more to choose from.

/** A test for text that has no segments: an actor's id, a workflow's name. Empty text never matches. */
export function compileName(tokens: readonly GlobToken[]): TextTest {
  const [first, second] = tokens;
  if (tokens.length === 1) {
    if (typeof first === "string") {
      return (text) => text === first;
    }
    if (first === STAR) {
      return (text) => text !== "";
    }
  }
  if (tokens.length === 2) {
    if (typeof first === "string" && second === STAR) {
      return (text) => text.startsWith(first);
    }
    if (first === STAR && typeof second === "string") {
      return (text) => text.endsWith(second);
    }
  }
  return (text) => text !== "" && matchesTokens(tokens, text, 0, text.length);
}

/** A test for text in segments: `*` and `?` stay within one, `**` spans any number. */
export function compileSegments(segments: readonly GlobSegment[]): TextTest {
  const literals = segments.map(literalOf);
  const wild = literals.indexOf(undefined);
  if (wild === -1) {
    const exact = literals.join("/");
    return (text) => text === exact;
  }
  if (segments[wild] === GLOBSTAR && literals.lastIndexOf(undefined) === wild) {
    if (segments.length === 1) {
      return () => true;
    }
    if (wild === segments.length - 1) {
      const whole = literals.slice(0, wild).join("/");
      const inside = `${whole}/`;
      return (text) => text.startsWith(inside) || text === whole;
    }
    if (wild === 0) {
      const whole = literals.slice(1).join("/");
      const inside = `/${whole}`;
      return (text) => text.endsWith(inside) || text === whole;
    }
  }
  if (wild === 0) {
    return (text) => matchesSegments(segments, 0, text, 0);
  }
  const before = literals.slice(0, wild).join("/");
  const prefix = `${before}/`;
  const rest = segments.slice(wild);
  return (text) =>
    text.startsWith(prefix)
      ? matchesSegments(rest, 0, text, prefix.length)
      : text === before && rest.every((segment) => segment === GLOBSTAR);
}

/**
 * A test for a directory: could something in it, at any depth, match? Undefined for patterns that start with `**`: their
 * names are not tied to a place, and any directory could have one.
 */
export function compileBelow(segments: readonly GlobSegment[]): TextTest | undefined {
  if (segments[0] === GLOBSTAR || segments[1] === GLOBSTAR) {
    return undefined;
  }
  return (directory) => {
    const text = directory === "/" ? "" : directory;
    let position = 0;
    for (const segment of segments) {
      if (segment === GLOBSTAR || position > text.length) {
        return true;
      }
      const end = segmentEnd(text, position);
      if (!matchesSegment(segment, text, position, end)) {
        return false;
      }
      position = end + 1;
    }
    return false;
  };
}

/** Longest tail of a pattern behind its last `**` that is told from "everything". */
const MAX_DEPTH = 16;

/** Whether the test takes a directory and all that could be in it: it takes names that nobody has thought of. */
export function takesTree(test: TextTest, directory: string): boolean {
  let path = directory;
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    if (!test(path)) {
      return false;
    }
    path = `${path === "/" ? "" : path}/\u0001\u0002\u0001`;
  }
  return true;
}

function matchesSegments(pattern: readonly GlobSegment[], from: number, text: string, start: number): boolean {
  let next = from;
  let position = start;
  let lastGlobstar = -1;
  let retry = 0;
  // A position behind the end means that no segment is left; at the end there is still an empty one.
  while (position <= text.length) {
    const segment = pattern[next];
    if (segment === GLOBSTAR) {
      if (next === pattern.length - 1) {
        return true;
      }
      lastGlobstar = next;
      retry = position;
      next += 1;
      continue;
    }
    const end = segmentEnd(text, position);
    if (segment !== undefined && matchesSegment(segment, text, position, end)) {
      next += 1;
      position = end + 1;
      continue;
    }
    if (lastGlobstar === -1) {
      return false;
    }
    retry = segmentEnd(text, retry) + 1;
    position = retry;
    next = lastGlobstar + 1;
  }
  while (pattern[next] === GLOBSTAR) {
    next += 1;
  }
  return next === pattern.length;
}

function segmentEnd(text: string, position: number): number {
  const end = text.indexOf("/", position);
  return end === -1 ? text.length : end;
}

function matchesSegment(tokens: readonly GlobToken[], text: string, start: number, end: number): boolean {
  if (tokens.length === 1 && tokens[0] === STAR) {
    // `/a/*` is something in `/a`, not `/a/` itself.
    return end > start;
  }
  return matchesTokens(tokens, text, start, end);
}

function matchesTokens(tokens: readonly GlobToken[], text: string, start: number, end: number): boolean {
  let next = 0;
  let position = start;
  let lastStar = -1;
  let retry = 0;
  for (;;) {
    const token = tokens[next];
    if (token === undefined) {
      if (position === end) {
        return true;
      }
    } else if (token === STAR) {
      lastStar = next;
      retry = position;
      next += 1;
      continue;
    } else if (token === ONE) {
      if (position < end) {
        next += 1;
        position += 1;
        continue;
      }
    } else if (position + token.length <= end && text.startsWith(token, position)) {
      next += 1;
      position += token.length;
      continue;
    }
    if (lastStar === -1 || retry >= end) {
      return false;
    }
    retry += 1;
    position = retry;
    next = lastStar + 1;
  }
}

/** Whether a segment of a pattern and a text in which `*` stands for any characters have a text in common. */
export function haveCommonText(tokens: readonly GlobToken[], wild: string): boolean {
  const pattern = tokens.flatMap((token): GlobToken[] => (typeof token === "string" ? token.split("") : [token]));
  const text = wild.split("").map((char): GlobToken => (char === "*" ? STAR : char));
  // Row by row: whether what is left of the pattern from here and what is left of the text from there can be equal.
  let below: boolean[] = [];
  for (let i = pattern.length; i >= 0; i--) {
    const row: boolean[] = [];
    for (let j = text.length; j >= 0; j--) {
      const [a, b] = [pattern[i], text[j]];
      if (a === undefined && b === undefined) row[j] = true;
      else if (a === STAR) row[j] = below[j] === true || row[j + 1] === true;
      else if (b === STAR) row[j] = row[j + 1] === true || (a !== undefined && below[j] === true);
      else row[j] = a !== undefined && b !== undefined && (a === ONE || a === b) && below[j + 1] === true;
    }
    below = row;
  }
  return below[0] === true;
}
