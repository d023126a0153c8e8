import { type AnyFunction, isFunction } from "./unknown.ts";

/**
 * Marks of shimmer and require-in-the-middle. The official instrumentations unwrap whatever carries them, so a
 * wrapper around one of theirs must not inherit them.
 */
const FOREIGN_MARKS: ReadonlySet<string | symbol> = new Set(["__original", "__unwrap", "__wrapped"]);

/**
 * Replaces the function `holder[name]` by `make(original)`. The wrapper keeps the original's name, length and own
 * properties (`util.promisify.custom`, `fs.realpath.native`), so that an application cannot tell. Where the original is
 * no constructor, the wrapper should be none either: write it as a method.
 *
 * @returns takes the wrapper out again if it is still on top; undefined when there is no such function here.
 */
export function replace(
  holder: object,
  name: string | symbol,
  make: (original: AnyFunction) => AnyFunction,
): (() => void) | undefined {
  const descriptor = Object.getOwnPropertyDescriptor(holder, name);
  const original: unknown = Reflect.get(holder, name);
  if (!isFunction(original)) return undefined;
  if (descriptor !== undefined && !descriptor.configurable && !descriptor.writable) return undefined;
  const wrapper = disguise(make(original), original);
  put(holder, name, wrapper, descriptor);
  return () => {
    // Somebody wrapped us since: taking our wrapper out would take theirs out too. It passes through instead.
    if (Reflect.get(holder, name) !== wrapper) return;
    if (descriptor === undefined) Reflect.deleteProperty(holder, name);
    else Object.defineProperty(holder, name, descriptor);
  };
}

function put(holder: object, name: string | symbol, value: unknown, old: PropertyDescriptor | undefined): void {
  Object.defineProperty(holder, name, {
    value,
    configurable: old?.configurable ?? true,
    enumerable: old?.enumerable ?? false,
    writable: old?.writable ?? true,
  });
}

function disguise(wrapper: AnyFunction, original: AnyFunction): AnyFunction {
  for (const key of Reflect.ownKeys(original)) {
    if (FOREIGN_MARKS.has(key)) continue;
    const descriptor = Object.getOwnPropertyDescriptor(original, key);
    if (descriptor !== undefined) Object.defineProperty(wrapper, key, descriptor);
  }
  return wrapper;
}
