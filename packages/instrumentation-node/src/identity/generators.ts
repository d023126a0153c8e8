import { isPromise, whenSettled } from "../intrinsics.ts";
import { isFunction } from "../unknown.ts";
import { type Scope, runIn } from "./scope.ts";

const SYNC: object = Object.getPrototypeOf(function* () {}).prototype;
const ASYNC: object = Object.getPrototypeOf(async function* () {}).prototype;

/** How a generator is driven. */
const STEPS = ["next", "return", "throw"] as const;

/**
 * Makes each step of a generator run in `scope`. A step runs in the context of whoever asks for it, not in that of whoever
 * called the generator function; the object stays the same one.
 *
 * @param ended called once when there are no more steps, with the error if it ended by one
 * @returns whether `value` is a generator
 */
export function keepScope(value: unknown, scope: Scope, ended?: (error?: unknown) => void): boolean {
  if (typeof value !== "object" || value === null || isPromise(value)) return false;
  const kind = prototypeOf(prototypeOf(value));
  if ((kind !== ASYNC && kind !== SYNC) || !Object.isExtensible(value)) return false;
  for (const name of STEPS) {
    const step: unknown = Reflect.get(value, name);
    if (!isFunction(step)) continue;
    const bound = function (this: unknown, ...args: unknown[]): unknown {
      return observe(() => runIn(scope, () => Reflect.apply(step, this, args)), ended);
    };
    Object.defineProperty(value, name, { value: bound, writable: true, configurable: true });
  }
  return true;
}

function observe(step: () => unknown, ended: ((error?: unknown) => void) | undefined): unknown {
  if (ended === undefined) return step();
  try {
    const result = step();
    if (isPromise(result)) void whenSettled(result, (last) => isLast(last) && ended(), ended);
    else if (isLast(result)) ended();
    return result;
  } catch (error) {
    ended(error);
    throw error;
  }
}

function prototypeOf(value: object | undefined): object | undefined {
  const prototype: unknown = value === undefined ? undefined : Object.getPrototypeOf(value);
  return typeof prototype === "object" && prototype !== null ? prototype : undefined;
}

function isLast(result: unknown): boolean {
  return typeof result === "object" && result !== null && Reflect.get(result, "done") === true;
}
