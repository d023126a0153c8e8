import { types } from "node:util";
import { fileURLToPath } from "node:url";

import { type AnyFunction, isFunction } from "../../unknown.ts";
import { isFileHandle } from "./handles.ts";

// What is judged must be what is done. An argument that can say something else the second time it is asked (getters,
// proxies, bytes that are written over) is asked once, and the original gets the answers.

/** A path argument: what names a file becomes a string or bytes of our own; all else is left to the original. */
export function stablePath(argument: unknown): unknown {
  if (typeof argument !== "object" || argument === null) return argument;
  // The constructor reads the bytes themselves, whatever the object says its length is.
  if (types.isUint8Array(argument)) return sameKind(new Uint8Array(argument), argument);
  if (isFileHandle(argument)) return argument;
  const seen = stableUrl(argument);
  try {
    if (isUrl(seen)) return fileURLToPath(seen);
  } catch {
    // The original says the same about it.
  }
  return seen;
}

/** An object that may be a URL. */
export function stableUrl(argument: object): object {
  return isPlainUrl(argument) ? argument : askOnce(argument);
}

/** What takes the place of the functions in options. */
type Change = (fn: AnyFunction) => AnyFunction;

/**
 * Options: a copy with the same answers.
 * @param change what takes the place of functions in them (`filter`, `exclude`)
 */
export function stableOptions(options: unknown, change?: Change): unknown {
  if (typeof options !== "object" || options === null) return options;
  const copy = types.isProxy(options) ? undefined : copyOf(options);
  if (copy === undefined) return askOnce(options, change);
  if (typeof copy["cwd"] === "object") copy["cwd"] = stablePath(copy["cwd"]);
  if (change !== undefined) {
    for (const name of Object.keys(copy)) copy[name] = stableOption(name, copy[name], change);
  }
  return copy;
}

/** Undefined where a copy would not say the same. */
function copyOf(options: object): Record<string, unknown> | undefined {
  const prototype: unknown = Object.getPrototypeOf(options);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  try {
    const copy: Record<string, unknown> = { ...options };
    if (prototype === null) Object.setPrototypeOf(copy, null);
    // What is not enumerable is not copied. No option is a symbol, and looking for those costs more than all the rest.
    return Object.getOwnPropertyNames(options).length === Object.keys(copy).length ? copy : undefined;
  } catch {
    return undefined;
  }
}

function stableOption(name: PropertyKey, value: unknown, change: Change | undefined): unknown {
  if (name === "cwd") return stablePath(value);
  return change !== undefined && isFunction(value) && name !== "constructor" ? change(value) : value;
}

/** Patterns of a search. */
export function stableList(patterns: unknown): unknown {
  // `Array.prototype.slice` would ask the array for its constructor.
  return Array.isArray(patterns) ? Array.from({ length: patterns.length }, (_, i): unknown => patterns[i]) : patterns;
}

function sameKind(bytes: Uint8Array, argument: Uint8Array): Uint8Array {
  return Buffer.isBuffer(argument) ? Buffer.from(bytes.buffer) : bytes;
}

/** Node's own URL, with nothing added: its answers do not change while it is looked at. */
function isPlainUrl(value: object): boolean {
  return (
    !types.isProxy(value) &&
    Object.getPrototypeOf(value) === URL.prototype &&
    Reflect.ownKeys(value).every((key) => typeof key === "symbol")
  );
}

/** As Node tells a URL, which may be of another implementation than its own. */
function isUrl(value: object): value is URL {
  return (
    Boolean(Reflect.get(value, "href") && Reflect.get(value, "protocol")) &&
    Reflect.get(value, "auth") === undefined &&
    Reflect.get(value, "path") === undefined
  );
}

/** The object, each of its properties read at most once. What a read throws is thrown at every reader. */
function askOnce(target: object, change?: Change): object {
  const answers = new Map<PropertyKey, () => unknown>();
  return new Proxy(target, {
    get: (_, name) => {
      let answer = answers.get(name);
      if (answer === undefined) {
        answer = ask(target, name, change);
        answers.set(name, answer);
      }
      return answer();
    },
  });
}

function ask(target: object, name: PropertyKey, change: Change | undefined): () => unknown {
  try {
    const value: unknown = Reflect.get(target, name);
    const given = stableOption(name, value, change);
    return () => given;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}
