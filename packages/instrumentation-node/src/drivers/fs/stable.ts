import { isAbsolute, sep } from "node:path";
import { types } from "node:util";

import { rethrowOverflow } from "../../intrinsics.ts";
import { type AnyFunction, isFunction } from "../../unknown.ts";
import { isFileHandle } from "./handles.ts";
import { urlPath } from "./urls.ts";

// What is judged must be what is done. An argument that can say something else the second time it is asked (getters,
// proxies, bytes that are written over) is asked once, and the original gets the answers.

/** A path argument: bytes are copied, an object that may be a URL answers once. */
export function stablePath(argument: unknown): unknown {
  if (typeof argument !== "object" || argument === null) return argument;
  // The constructor reads the bytes themselves, whatever the object says its length is.
  if (types.isUint8Array(argument)) return sameKind(new Uint8Array(argument), argument);
  return isSteady(argument) || isFileHandle(argument) ? argument : askOnce(argument);
}

/** A path that stays what it is, when the call has to wait: the application may change its URL. */
export function fixedPath(argument: unknown): unknown {
  if (typeof argument === "string") return argument === "" || isAbsolute(argument) ? argument : here() + argument;
  if (typeof argument !== "object" || argument === null) return argument;
  if (!types.isUint8Array(argument)) return urlPath(argument) ?? argument;
  const absolute = argument.length === 0 || argument[0] === SLASH;
  return absolute ? argument : Buffer.concat([Buffer.from(here()), argument]);
}

/** As text before a relative path: what follows is given to the system as it is. */
function here(): string {
  return process.cwd() + sep;
}

const SLASH = 0x2f;

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
  } catch (error) {
    rethrowOverflow(error);
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

/** Says the same each time it is asked: Node's own URL, or what is no URL at all. */
function isSteady(value: object): boolean {
  for (let each: unknown = value; typeof each === "object" && each !== null; each = Object.getPrototypeOf(each)) {
    if (types.isProxy(each)) return false;
    if (each === URL.prototype) return true;
    if (Object.hasOwn(each, "href")) return false;
  }
  return true;
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
