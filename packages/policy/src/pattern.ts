import { decodeOnce, foldCharacters } from "./address.ts";
import { compileBelow, compileName, compileSegments, haveCommonText, type TextTest } from "./glob.ts";
import {
  checkPattern,
  expandBraces,
  GLOBSTAR,
  joinLiterals,
  literalOf,
  parseName,
  type GlobSegment,
  type GlobToken,
} from "./glob-syntax.ts";
import { checkBrackets, parsePattern } from "./pattern-syntax.ts";
import type { ResourceKind } from "./resource-kind.ts";

/** One brace-free pattern of a resource in both readings, see `Reading`. */
export interface Alternative {
  /** Undefined: any. */
  readonly scheme: string | undefined;
  readonly exact: TextTest;
  /** The same function as `exact` where the readings of the pattern do not differ. */
  readonly loose: TextTest;
  /** Only of a `db` pattern: the databases (lenient reading) in which something could match it. */
  readonly within: TextTest | undefined;
  /** Only of a `db` pattern: the names in a database (`schema.*`, `*.table`; lenient reading) that it could match one of. */
  readonly meets: TextTest | undefined;
  /** Only of a `file` pattern that does not start with `**`: the directories (lenient reading) in which something could match it. */
  readonly below: TextTest | undefined;
}

/** One pattern of a resource, as it is written. */
export interface ResourcePattern {
  readonly kind: ResourceKind;
  readonly text: string;
  /** What its braces stand for. */
  readonly alternatives: readonly Alternative[];
}

/** Where a path leads when its symbolic links are followed. */
export type RealPath = (path: string) => string;

/**
 * Throws `GlobSyntaxError`.
 * @param realPath a `file` pattern is also one for the place that it leads to, for a deny or review
 */
export function compileResourcePattern(kind: ResourceKind, text: string, realPath?: RealPath): ResourcePattern {
  checkPattern(text);
  return { kind, text, alternatives: expandBraces(text).flatMap((one) => compileAlternatives(kind, one, realPath)) };
}

/** A pattern for an identity or a name. */
export interface NamePattern {
  readonly text: string;
  readonly test: TextTest;
  /** The text it is equal to, if it has no wildcard. */
  readonly literal: string | undefined;
  /** The pattern was written with `agent:`, which is not in its text any more. */
  readonly isAgent: boolean;
}

/** In front of an agent's id it may stand or not: `agent:refunds` and `refunds` are one agent. */
export const AGENT_PREFIX = "agent:";

/** Throws `GlobSyntaxError`. */
export function compileNamePatterns(pattern: string, isActor: boolean): NamePattern[] {
  checkPattern(pattern);
  return expandBraces(pattern).map((one) => {
    const isAgent = isActor && one.startsWith(AGENT_PREFIX);
    const text = isAgent ? one.slice(AGENT_PREFIX.length) : one;
    checkPattern(text);
    checkBrackets(text, pattern);
    const tokens = parseName(text);
    return { text, test: compileName(tokens), literal: literalOf(tokens), isAgent };
  });
}

function compileAlternatives(kind: ResourceKind, text: string, realPath: RealPath | undefined): Alternative[] {
  const { scheme, segments } = parsePattern(kind, text);
  const given = compileAlternative(kind, scheme, segments);
  const real = kind === "file" && realPath !== undefined ? behindLinks(segments, realPath) : undefined;
  if (real === undefined) {
    return [given];
  }
  // A doubt, so that it is no allow: who may replace the link could open any place with it.
  return [given, { ...compileAlternative(kind, scheme, real), exact: () => false }];
}

/** The pattern with its path, as far as it has no wildcards, in place of links. */
function behindLinks(segments: readonly GlobSegment[], realPath: RealPath): readonly GlobSegment[] | undefined {
  const literals = segments.map(literalOf);
  const wild = literals.indexOf(undefined);
  const length = wild === -1 ? segments.length : wild;
  const path = literals.slice(0, length).join("/");
  if (!path.startsWith("/")) {
    return undefined;
  }
  const real = realPath(path);
  return real === path
    ? undefined
    : [...real.split("/").map((name) => joinLiterals([name])), ...segments.slice(length)];
}

function compileAlternative(
  kind: ResourceKind,
  scheme: string | undefined,
  segments: readonly GlobSegment[],
): Alternative {
  const exact = segments.map((segment) => mapLiterals(segment, (literal) => exactLiteral(kind, literal)));
  const loose = looseSegments(kind, exact);
  const test = compileSegments(exact);
  const last = loose.at(-1);
  const inDatabase = kind === "db" && loose.length > 1 && last !== undefined && last !== GLOBSTAR;
  return {
    scheme,
    exact: test,
    loose: isSame(exact, loose) ? test : compileSegments(loose),
    // `**` at the end takes the database itself already.
    within: inDatabase ? compileSegments(loose.slice(0, -1)) : undefined,
    meets: inDatabase ? (name) => haveCommonText(last, name) : undefined,
    below: kind === "file" ? compileBelow(loose) : undefined,
  };
}

function exactLiteral(kind: ResourceKind, literal: string): string {
  // In a file's pattern a percent sign is a percent sign: the path is written as the file system has it.
  return kind === "http" || kind === "db" ? decodeOnce(literal) : literal;
}

/** The pattern as the lenient reading of a target would spell it; see `foldText`. */
function looseSegments(kind: ResourceKind, segments: readonly GlobSegment[]): GlobSegment[] {
  const loose: GlobSegment[] = [];
  for (const [index, segment] of segments.entries()) {
    if (segment === GLOBSTAR) {
      loose.push(segment);
      continue;
    }
    const folded = mapLiterals(segment, (literal) => foldCharacters(kind, literal));
    const parts = index === 0 ? [folded] : splitSegment(folded);
    for (const part of parts) {
      const kept = kind === "http" && index > 0 ? withoutParameters(part) : part;
      // The lenient reading has no empty segments but the one in front of an absolute path.
      if (kept.length > 0 || (index === 0 && segments.length > 1)) {
        loose.push(kept);
      }
    }
  }
  return loose.length === 1 && loose[0] !== GLOBSTAR && loose[0]?.length === 0 ? [[], []] : loose;
}

function splitSegment(tokens: readonly GlobToken[]): GlobToken[][] {
  const parts: GlobToken[][] = [[]];
  for (const token of tokens) {
    if (typeof token !== "string") {
      parts.at(-1)?.push(token);
      continue;
    }
    for (const [index, text] of token.split("/").entries()) {
      if (index > 0) {
        parts.push([]);
      }
      parts.at(-1)?.push(text);
    }
  }
  return parts.map(joinLiterals);
}

function withoutParameters(tokens: readonly GlobToken[]): GlobToken[] {
  const kept: GlobToken[] = [];
  for (const token of tokens) {
    if (typeof token === "string" && token.includes(";")) {
      kept.push(token.slice(0, token.indexOf(";")));
      break;
    }
    kept.push(token);
  }
  return joinLiterals(kept);
}

function mapLiterals(segment: readonly GlobToken[], change: (literal: string) => string): readonly GlobToken[];
function mapLiterals(segment: GlobSegment, change: (literal: string) => string): GlobSegment;
function mapLiterals(segment: GlobSegment, change: (literal: string) => string): GlobSegment {
  return segment === GLOBSTAR
    ? segment
    : joinLiterals(segment.map((token) => (typeof token === "string" ? change(token) : token)));
}

function isSame(a: readonly GlobSegment[], b: readonly GlobSegment[]): boolean {
  return a.length === b.length && a.every((segment, index) => isSameSegment(segment, b[index]));
}

function isSameSegment(a: GlobSegment, b: GlobSegment | undefined): boolean {
  return a === GLOBSTAR || b === GLOBSTAR || b === undefined
    ? a === b
    : a.length === b.length && a.every((token, index) => token === b[index]);
}
