import { parse } from "yaml";
import { configError } from "../errors.ts";

const REFERENCE = /\$\$|\$\{([^}]*)\}/g;
const ENV = /^env:([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

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
  if (!whole) return expanded;
  try {
    const typed: unknown = parse(expanded);
    return typeof typed === "object" ? expanded : typed;
  } catch {
    return expanded;
  }
}
