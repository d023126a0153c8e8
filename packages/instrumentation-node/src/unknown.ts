/** Any function: patches keep arguments and `this` as they are. */
export type AnyFunction = (this: unknown, ...args: unknown[]) => unknown;

export function isFunction(value: unknown): value is AnyFunction {
  return typeof value === "function";
}

/** Whether a value has properties; functions included. */
export function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return (typeof value === "object" && value !== null) || typeof value === "function";
}

/** `value[key]`, and undefined where the value has no properties. */
export function property(value: unknown, key: PropertyKey): unknown {
  return isObject(value) ? value[key] : undefined;
}
