import { parse } from "yaml";
import { configError } from "../errors.ts";
import { MAX_NESTING } from "./yaml.ts";

const REFERENCE = /\$\$|\$\{([^}]*)\}/g;
const ENV = /^env:([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/** Longest text that may be a number, a truth value or null. */
const MAX_TYPED = 64;

/**
 * Replaces `${env:NAME}` and `${env:NAME:-default}` in every string of a parsed document, as otelcol does; `$$` is a
 * dollar sign. A value that is nothing but one reference takes the type that the text has in YAML (a port stays a number).
 */
export function expandEnv(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
  path: readonly PropertyKey[] = [],
): unknown {
  if (typeof value === "string") return expandString(value, env, path);
  // An alias may stand for something that it is itself a part of.
  if (path.length > MAX_NESTING) throw configError(path.slice(0, 4), `is nested deeper than ${MAX_NESTING}`);
  if (Array.isArray(value)) return value.map((item, i) => expandEnv(item, env, [...path, i]));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expandEnv(item, env, [...path, key])]));
  }
  return value;
}

function expandString(
  text: string,
  env: Readonly<Record<string, string | undefined>>,
  path: readonly PropertyKey[],
): unknown {
  if (!text.includes("$")) return text;
  let whole = false;
  const expanded = text.replace(REFERENCE, (match, reference: string | undefined) => {
    if (reference === undefined) return "$";
    const parts = ENV.exec(reference);
    if (!parts)
      throw configError(path, `"\${${reference}}" is not a reference; use \${env:NAME} or \${env:NAME:-default}`);
    whole = match === text;
    return env[parts[1]!] ?? parts[2] ?? "";
  });
  if (!whole || expanded.length > MAX_TYPED) return expanded;
  try {
    const typed: unknown = parse(expanded);
    return typeof typed === "object" ? expanded : typed;
  } catch {
    return expanded;
  }
}
