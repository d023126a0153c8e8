import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { configError, errorMessage } from "../errors.ts";
import { MAX_NESTING } from "./yaml.ts";

const REFERENCE = /\$\$|\$\{([^}]*)\}/g;
/** `env:NAME`, `env:NAME:-default`, or the same without the scheme, which is otelcol's default. */
const ENV = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;
const FILE = /^file:(.+)$/;

/** Longest text that may be a number, a truth value or null. */
const MAX_TYPED = 64;
/** A secret, a certificate: nothing that is referred to is larger. */
const MAX_FILE_BYTES = 64 * 1024;

export interface ExpandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A variable that is not set and has no default: it is empty then, as in otelcol. */
  readonly onUnset?: (name: string, path: readonly PropertyKey[]) => void;
}

/** A value that was nothing but one reference: what it is depends on what its setting wants. */
export class Referred {
  /** The characters that were there. */
  readonly text: string;
  /** What they are in YAML: a number, a truth value. */
  readonly typed: unknown;

  constructor(text: string, typed: unknown) {
    this.text = text;
    this.typed = typed;
  }
}

/**
 * Replaces `${env:NAME}`, `${env:NAME:-default}`, `${NAME}` and `${file:PATH}` in every string of a parsed document, as
 * otelcol does; `$$` is a dollar sign. A value that is nothing but one reference and looks like a number or a truth value
 * becomes a `Referred`, for `settle`. What is put in is not looked at again.
 */
export function expand(value: unknown, options: ExpandOptions, path: readonly PropertyKey[] = []): unknown {
  if (typeof value === "string") return expandString(value, options, path);
  // An alias may stand for something that it is itself a part of.
  if (path.length > MAX_NESTING) throw configError(path.slice(0, 4), `is nested deeper than ${MAX_NESTING}`);
  if (Array.isArray(value)) return value.map((item, i) => expand(item, options, [...path, i]));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expand(item, options, [...path, key])]));
  }
  return value;
}

function expandString(text: string, options: ExpandOptions, path: readonly PropertyKey[]): unknown {
  if (!text.includes("$")) return text;
  let whole = false;
  const expanded = text.replace(REFERENCE, (match, reference: string | undefined) => {
    if (reference === undefined) return "$";
    whole = match === text;
    return resolve(reference, options, path);
  });
  if (!whole || expanded.length > MAX_TYPED) return expanded;
  try {
    const typed: unknown = parse(expanded);
    return typeof typed === "object" || typed === expanded ? expanded : new Referred(expanded, typed);
  } catch {
    return expanded;
  }
}

function resolve(reference: string, { env, onUnset }: ExpandOptions, path: readonly PropertyKey[]): string {
  const file = FILE.exec(reference)?.[1];
  if (file !== undefined) return readSmallFile(file, path);
  const [, name, fallback] = ENV.exec(reference) ?? [];
  if (name === undefined) {
    throw configError(
      path,
      `"\${${reference}}" is not a reference; use \${env:NAME}, \${env:NAME:-default} or \${file:PATH} ($$ is a dollar sign)`,
    );
  }
  const value = env[name] ?? fallback;
  if (value === undefined) onUnset?.(name, path);
  return value ?? "";
}

function readSmallFile(file: string, path: readonly PropertyKey[]): string {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw configError(path, `"\${file:${file}}" cannot be read: ${errorMessage(cause)}`);
  }
  if (text.length > MAX_FILE_BYTES)
    throw configError(path, `"\${file:${file}}" has ${text.length} characters, at most ${MAX_FILE_BYTES} are allowed`);
  return text.replace(/\r?\n$/, "");
}
