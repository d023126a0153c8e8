import type { Document, LineCounter } from "yaml";
import { PolicyError, type PolicyErrorCode, type PolicyIssue } from "./error.ts";
import { yamlLibrary } from "./lazy.ts";
import { NestingError, parseYaml } from "./yaml-text.ts";

/**
 * Largest document, in bytes of UTF-8. A `policy.loaded` record carries the text, and an attribute holds 64 KiB: a larger
 * policy could not be put on record whole.
 */
const MAX_DOCUMENT_BYTES = 64 * 1024;
/** Most YAML nodes, those that aliases repeat counted again each time. */
const MAX_NODES = 20_000;
const MAX_DEPTH = 16;
const MAX_ISSUES = 100;

export type Path = readonly (string | number)[];

/** A YAML document as plain data, with the place of every key and value and a list of what is wrong with it. */
export class Source {
  readonly file: string;
  /** Objects have no prototype, so that a key called `constructor` is a key like any other. */
  readonly value: unknown;
  readonly #yaml = yamlLibrary();
  #lines: LineCounter = new this.#yaml.LineCounter();
  readonly #keys = new Map<string, number>();
  readonly #values = new Map<string, number>();
  readonly #issues: PolicyIssue[] = [];
  #nodes = 0;

  /** Throws {@link PolicyError}. */
  constructor(text: string, file: string) {
    this.file = file;
    this.value = this.#read(text);
  }

  /** Notes a fault at the value of a path. */
  report(code: PolicyErrorCode, path: Path, message: string): void {
    this.#report(code, this.#offset(path, [this.#values, this.#keys]), path, message);
  }

  /** Notes a fault at the key of a path. */
  reportKey(code: PolicyErrorCode, path: Path, message: string): void {
    this.#report(code, this.#offset(path, [this.#keys, this.#values]), path, message);
  }

  /** The error for a fault that leaves nothing to go on with. */
  fatal(code: PolicyErrorCode, path: Path, message: string, cause: unknown): PolicyError {
    const place = this.#place(this.#offset(path, [this.#values, this.#keys]));
    return new PolicyError(this.file, [{ code, ...place, path: formatPath(path), message }], { cause });
  }

  /** 1-based line and column of the key of a path, or of its value. */
  place(path: Path): { line: number; column: number } {
    return this.#place(this.#offset(path, [this.#keys, this.#values]));
  }

  /** A path that the document does not have is at its nearest ancestor. */
  #offset(path: Path, order: readonly ReadonlyMap<string, number>[]): number {
    for (let length = path.length; length > 0; length--) {
      const key = formatPath(path.slice(0, length));
      const found = order.find((offsets) => offsets.has(key))?.get(key);
      if (found !== undefined) {
        return found;
      }
    }
    return 0;
  }

  /** Whether anything was reported. */
  get isFaulty(): boolean {
    return this.#issues.length > 0;
  }

  /** Throws what was reported, in the order of the source. */
  throwIfFaulty(): void {
    const sorted = this.#issues.toSorted((a, b) => a.line - b.line || a.column - b.column);
    const [first, ...others] = sorted.slice(0, MAX_ISSUES);
    if (first !== undefined) {
      throw new PolicyError(this.file, [first, ...others]);
    }
  }

  #read(text: string): unknown {
    if (typeof text !== "string") {
      throw this.#fatal("INVALID_VALUE", 0, "the document has to be a string");
    }
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_DOCUMENT_BYTES) {
      throw this.#fatal("TOO_LARGE", 0, `the document has ${bytes} bytes, at most ${MAX_DOCUMENT_BYTES} are allowed`);
    }
    try {
      const { document, faults, lines } = parseYaml(text);
      this.#lines = lines;
      for (const fault of faults) {
        this.#report("INVALID_YAML", fault.pos[0], [], fault.message);
      }
      this.throwIfFaulty();
      const value = this.#plain(document, document.contents, [], new Set());
      this.throwIfFaulty();
      return value;
    } catch (error) {
      if (error instanceof PolicyError) {
        throw error;
      }
      if (error instanceof NestingError) {
        throw this.#fatal("TOO_LARGE", error.offset, error.message);
      }
      throw this.#fatal("INVALID_YAML", 0, `the document cannot be parsed: ${String(error)}`, error);
    }
  }

  #plain(document: Document, node: unknown, path: Path, open: Set<unknown>): unknown {
    const { isAlias, isMap, isScalar, isSeq } = this.#yaml;
    const start = isAlias(node) || isMap(node) || isSeq(node) || isScalar(node) ? (node.range?.[0] ?? 0) : 0;
    this.#nodes += 1;
    if (this.#nodes > MAX_NODES) {
      throw this.#fatal(
        "TOO_LARGE",
        start,
        `the document has more than ${MAX_NODES} values, repeated aliases included`,
      );
    }
    if (path.length > MAX_DEPTH) {
      throw this.#fatal("TOO_LARGE", start, `the document is nested deeper than ${MAX_DEPTH}`);
    }
    if (!this.#values.has(formatPath(path))) {
      this.#values.set(formatPath(path), start);
    }
    if (isAlias(node)) {
      const target = node.resolve(document);
      if (target === undefined || open.has(target)) {
        throw this.#fatal("INVALID_YAML", start, `the alias *${node.source} has no value of its own`);
      }
      return this.#plain(document, target, path, open);
    }
    if (isScalar(node)) {
      return node.value;
    }
    open.add(node);
    try {
      return isSeq(node)
        ? node.items.map((item, index) => this.#plain(document, item, [...path, index], open))
        : this.#plainMap(document, node, path, open);
    } finally {
      open.delete(node);
    }
  }

  #plainMap(document: Document, node: unknown, path: Path, open: Set<unknown>): unknown {
    const { isMap, isScalar } = this.#yaml;
    if (!isMap(node)) {
      return null;
    }
    const object: Record<string, unknown> = {};
    Object.setPrototypeOf(object, null);
    for (const { key, value } of node.items) {
      const name = isScalar(key) ? String(key.value) : String(key);
      const inner = [...path, name];
      const start = isScalar(key) ? (key.range?.[0] ?? 0) : 0;
      if (name === "__proto__") {
        // Libraries behind this one skip the key in silence.
        this.#report("UNKNOWN_KEY", start, inner, `the key "__proto__" is not allowed`);
        continue;
      }
      if (Object.hasOwn(object, name)) {
        this.#report("DUPLICATE_KEY", start, inner, `the key ${JSON.stringify(name)} is there twice`);
        continue;
      }
      this.#keys.set(formatPath(inner), start);
      object[name] = this.#plain(document, value, inner, open);
    }
    return object;
  }

  #report(code: PolicyErrorCode, offset: number, path: Path, message: string): void {
    this.#issues.push({ code, ...this.#place(offset), path: formatPath(path), message });
  }

  #fatal(code: PolicyErrorCode, offset: number, message: string, cause?: unknown): PolicyError {
    return new PolicyError(
      this.file,
      [{ code, ...this.#place(offset), path: "", message }],
      cause === undefined ? {} : { cause },
    );
  }

  #place(offset: number): { line: number; column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

/** `rules[2].deny.resource` */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") {
      text += `[${part}]`;
    } else if (/^[A-Za-z_][\w-]*$/.test(part)) {
      text += text === "" ? part : `.${part}`;
    } else {
      text += `[${JSON.stringify(part)}]`;
    }
  }
  return text;
}
