import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { configError, errorMessage } from "../errors.ts";
import { parseTemplate, type Reference, type Template } from "./template.ts";
import { MAX_NESTING } from "./yaml.ts";

/** `env:NAME`, or the same without the scheme, which is otelcol's default. */
const ENV = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)$/;
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
 * otelcol does, one inside of another too (`${env:NAME:-${env:OTHER:-default}}`); `$$` is a dollar sign. A value that is
 * nothing but one reference and looks like a number or a truth value becomes a `Referred`, for `settle`. What is put in is
 * not looked at again, and a default only where it is needed.
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
  let template: Template;
  try {
    template = parseTemplate(text);
  } catch (cause) {
    throw configError(path, errorMessage(cause));
  }
  const expanded = render(template, options, path);
  const isReference = template.length === 1 && typeof template[0] !== "string";
  if (!isReference || expanded.length > MAX_TYPED) return expanded;
  try {
    const typed: unknown = parse(expanded);
    return typeof typed === "object" || typed === expanded ? expanded : new Referred(expanded, typed);
  } catch {
    return expanded;
  }
}

function render(template: Template, options: ExpandOptions, path: readonly PropertyKey[]): string {
  return template.map((part) => (typeof part === "string" ? part : resolve(part, options, path))).join("");
}

function resolve({ name, fallback, source }: Reference, options: ExpandOptions, path: readonly PropertyKey[]): string {
  const what = render(name, options, path);
  const file = FILE.exec(what)?.[1];
  if (file !== undefined && fallback === undefined) return readSmallFile(file, path);
  const variable = ENV.exec(what)?.[1];
  if (variable === undefined) {
    throw configError(
      path,
      `"${source}" is not a reference; use \${env:NAME}, \${env:NAME:-default} or \${file:PATH} ($$ is a dollar sign)`,
    );
  }
  const value = options.env[variable];
  if (value !== undefined) return value;
  if (fallback !== undefined) return render(fallback, options, path);
  options.onUnset?.(variable, path);
  return "";
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
