import { canonicalAuthority, splitPort } from "./address.ts";
import {
  GLOBSTAR,
  GlobSyntaxError,
  joinLiterals,
  literalOf,
  ONE,
  parseSegments,
  type GlobSegment,
  type GlobToken,
} from "./glob-syntax.ts";
import type { ResourceKind } from "./resource-kind.ts";

/** One brace-free pattern, its host in canonical form. */
interface ParsedPattern {
  /** Undefined: any. */
  readonly scheme: string | undefined;
  readonly segments: readonly GlobSegment[];
}

/** Throws {@link GlobSyntaxError}. */
export function parsePattern(kind: ResourceKind, text: string): ParsedPattern {
  if (text === "**") {
    return { scheme: undefined, segments: [GLOBSTAR] };
  }
  switch (kind) {
    case "http":
      return parseHttp(text);
    case "db":
      return parseDatabase(text);
    case "file":
      return { scheme: undefined, segments: parseFile(text) };
    case "tool":
      return { scheme: undefined, segments: parsePath(text, text.replace(/^tool:/, "")) };
    case "process":
      return { scheme: undefined, segments: parsePath(text, text.replace(/^process:/, "")) };
    case "socket":
      return parseSocket(text);
    default:
      throw new TypeError(`unknown kind ${String(kind)}`);
  }
}

function parseHttp(text: string): ParsedPattern {
  const match = /^(https?|wss?|\*):\/\/(.*)$/s.exec(text);
  if (match === null) {
    const host = text.replace(/^[a-z]*:?\/*/i, (start) => (start.includes("/") ? "" : start));
    throw new GlobSyntaxError(
      `the http pattern ${quote(text)} has no scheme, did you mean ${quote(`https://${host}`)}? ("*://" is any scheme)`,
    );
  }
  const scheme = match[1] === "*" ? undefined : match[1];
  const segments = parseAddress(text, match[2] ?? "", scheme ?? "");
  if (segments.length === 1 && segments[0] !== GLOBSTAR) {
    throw new GlobSyntaxError(`the http pattern ${quote(text)} has no path, did you mean ${quote(`${text}/**`)}?`);
  }
  const hasQuery = segments.some((segment) => segment !== GLOBSTAR && segment.includes(ONE));
  if (hasQuery || segments.some((segment) => segment !== GLOBSTAR && segment.some((token) => isFragment(token)))) {
    throw new GlobSyntaxError(
      `the http pattern ${quote(text)} has a query or fragment, which is no part of a target's id; "?" is no wildcard here`,
    );
  }
  return { scheme, segments };
}

function isFragment(token: GlobToken): boolean {
  return typeof token === "string" && (token.includes("#") || token.includes("?"));
}

function parseDatabase(text: string): ParsedPattern {
  const match = /^([a-z][a-z0-9+.-]*|\*):\/\/(.*)$/is.exec(text);
  const given = match?.[1]?.toLowerCase();
  const scheme = given === "postgres" ? "postgresql" : given;
  const rest = match?.[2] ?? text;
  // Without a scheme the port that goes without saying is PostgreSQL's.
  const segments = parseAddress(text, rest, scheme === undefined || scheme === "*" ? "postgresql" : scheme);
  if (segments.length === 1 && segments[0] !== GLOBSTAR) {
    throw new GlobSyntaxError(
      `the db pattern ${quote(text)} is no host/database/schema.table, did you mean ${quote(`**/${text}`)} or ${quote(`${text}/**`)}?`,
    );
  }
  return { scheme: scheme === "*" ? undefined : scheme, segments };
}

function parseSocket(text: string): ParsedPattern {
  const match = /^([a-z][a-z0-9+.-]*|\*):\/\/(.*)$/is.exec(text) ?? /^(unix):(\/.*)$/is.exec(text);
  const scheme = match?.[1]?.toLowerCase();
  return { scheme: scheme === "*" ? undefined : scheme, segments: parseAddress(text, match?.[2] ?? text, "") };
}

function parseFile(text: string): GlobSegment[] {
  const path = text.replace(/^file:\/\/(?=[/*])/, "").replace(/^(?=[a-z]:\/)/i, "/");
  if (!path.startsWith("/") && !path.startsWith("**/")) {
    const end = path.replace(/^(?:~|\.{1,2})?\/+/, "");
    throw new GlobSyntaxError(`the file pattern ${quote(text)} is not absolute, did you mean ${quote(`**/${end}`)}?`);
  }
  if (path.length > 1 && path.endsWith("/")) {
    throw new GlobSyntaxError(
      `the file pattern ${quote(text)} ends in "/" and can match nothing, did you mean ${quote(`${text}**`)}?`,
    );
  }
  return parsePath(text, path);
}

/** `authority/path`, the authority in its canonical form. */
function parseAddress(text: string, rest: string, scheme: string): GlobSegment[] {
  const ipv6 = /^\[[0-9a-f:.]+\]/i.exec(rest)?.[0] ?? "";
  checkBrackets(rest.slice(ipv6.length), text);
  const [authority = [], ...path] = parseSegments(rest);
  checkDots(text, path);
  return [parseAuthority(text, authority, scheme), ...path];
}

function parseAuthority(text: string, authority: GlobSegment, scheme: string): GlobSegment {
  const literal = literalOf(authority);
  if (authority === GLOBSTAR || literal === "") {
    return authority;
  }
  if (literal?.includes("@") || authority.some((token) => typeof token === "string" && token.includes("@"))) {
    throw new GlobSyntaxError(`the pattern ${quote(text)} has credentials, which are no part of a target's id`);
  }
  if (literal !== undefined) {
    if (!URL.canParse(`http://${literal}/`)) {
      throw new GlobSyntaxError(`the pattern ${quote(text)} has no valid host: ${quote(literal)}`);
    }
    return joinLiterals([canonicalAuthority(literal, scheme)]);
  }
  if (authority.some((token) => typeof token === "string" && /[^\u0021-\u007e]/.test(token))) {
    throw new GlobSyntaxError(`the pattern ${quote(text)} mixes wildcards with non-ASCII in its host; write xn--…`);
  }
  const lower = authority.map((token) => (typeof token === "string" ? token.toLowerCase() : token));
  const last = lower.at(-1);
  if (typeof last === "string") {
    // Only what a canonical id would not have either: the default port and the root's dot.
    const [name, port] = splitPort(last);
    const kept = port === "" ? "" : canonicalAuthority(`x:${port}`, scheme).slice(1);
    lower[lower.length - 1] = name.replace(/\.$/, "") + kept;
  }
  return joinLiterals(lower);
}

function parsePath(text: string, path: string): GlobSegment[] {
  checkBrackets(path, text);
  const segments = parseSegments(path);
  checkDots(text, segments);
  if (segments.some((segment, index) => index > 0 && index < segments.length - 1 && literalOf(segment) === "")) {
    throw new GlobSyntaxError(`the pattern ${quote(text)} has an empty segment ("//"), which no target's id has`);
  }
  return segments;
}

function checkDots(text: string, segments: readonly GlobSegment[]): void {
  const dots = segments.map(literalOf).find((literal) => literal === "." || literal === "..");
  if (dots !== undefined) {
    throw new GlobSyntaxError(`the pattern ${quote(text)} has a ${quote(dots)} segment, which no target's id has`);
  }
}

export function checkBrackets(part: string, whole = part): void {
  if (/[[\]]/.test(part.replaceAll(/\\./gs, ""))) {
    throw new GlobSyntaxError(
      `the pattern ${quote(whole)} has brackets; character classes are not supported, a literal bracket is "\\["`,
    );
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
