import { type AnyFunction, isFunction, property } from "./unknown.ts";

/**
 * Marks of shimmer and require-in-the-middle. The official instrumentations unwrap whatever carries them, so a
 * wrapper around one of theirs must not inherit them.
 */
const FOREIGN_MARKS: ReadonlySet<string | symbol> = new Set(["__original", "__unwrap", "__wrapped"]);

interface Patch {
  readonly holder: object;
  readonly name: string | symbol;
  readonly wrapper: AnyFunction;
  readonly original: AnyFunction;
}

const watched = new Set<Patch>();
/** Set while patches are made that last: not those of single requests and queries. */
let watching: typeof watched | undefined;

/** Runs `install`, whose patches `changedPatches` looks after. */
export function watchPatches<T>(install: () => T): T {
  watching = watched;
  try {
    return install();
  } finally {
    watching = undefined;
  }
}

/** Names of functions that are as they were before we patched them, and of those that are others by now. */
export function changedPatches(): { readonly removed: readonly string[]; readonly replaced: readonly string[] } {
  const removed: string[] = [];
  const replaced: string[] = [];
  for (const { holder, name, wrapper, original } of watched) {
    const current: unknown = Reflect.get(holder, name);
    if (isOnTop(current, wrapper)) continue;
    (current === original || current === undefined ? removed : replaced).push(String(name));
  }
  return { removed: [...new Set(removed)].toSorted(), replaced: [...new Set(replaced)].toSorted() };
}

const MAX_WRAPPERS = 16;

/** Whether a function is our wrapper, or one of shimmer's around it. */
function isOnTop(current: unknown, wrapper: AnyFunction): boolean {
  let at = current;
  for (let depth = 0; depth < MAX_WRAPPERS && at !== undefined; depth++) {
    if (at === wrapper) return true;
    at = property(at, "__original");
  }
  return false;
}

/**
 * What another instrumentation has wrapped, by shimmer's mark, for our own work with files: in the application's traces it
 * would be something that the application never did.
 */
export function beneathOthers<F extends object>(wrapper: F): F {
  let found: unknown = wrapper;
  // Bounded: marks can be made to point in a circle.
  for (let depth = 0; depth < 10; depth++) {
    const original = property(found, "__original");
    if (!isFunction(original)) break;
    found = original;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a wrapper is called like what it wraps
  return found as F;
}

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
  const patch: Patch = { holder, name, wrapper, original };
  watching?.add(patch);
  return () => {
    watched.delete(patch);
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
