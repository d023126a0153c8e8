// A function written as a method has no `prototype`, like most of those it stands for; taking it out of its object is
// the point here.
// oxlint-disable typescript/unbound-method
import { aloud, begin, count, observes, type Operation, quietlyApply } from "../../audit.ts";
import { holdsSecrets } from "../../defaults.ts";
import { bindIdentity, quietlyAsync } from "../../identity.ts";
import { isModuleRead } from "../../module-hook.ts";
import { type AnyFunction, isFunction, property } from "../../unknown.ts";
import { isEsmLoaderRead } from "./esm-loader.ts";
import { fileName } from "./paths.ts";
import type { Row, Style } from "./table.ts";

type Wrap = (row: Row, original: AnyFunction) => AnyFunction;

/** One wrapper for each way of handing out a result; what the call means is the row's business. */
export const WRAPS: Readonly<Record<Style, Wrap>> = {
  sync: wrapSync,
  callback: wrapCallback,
  promise: wrapPromise,
  iterable: wrapIterable,
};

/** A function that is only counted. */
export function wrapCounted(kind: string, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      count(kind);
      return Reflect.apply(original, this, args);
    },
  }.call;
}

function wrapSync(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args);
      const passed = row.deep === true ? freeCallbacks(args) : args;
      if (operation === undefined) return quietlyApply(original, this, passed);
      if (operation.denied !== undefined) throw operation.denied;
      const result = endOnThrow(operation, () => quietlyApply(original, this, passed));
      operation.end();
      return result;
    },
  }.call;
}

function wrapCallback(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args);
      const at = args.findLastIndex((argument) => typeof argument === "function");
      const last = args[at];
      const callback = isFunction(last) ? last : undefined;
      if (operation?.denied !== undefined && callback !== undefined) {
        process.nextTick(callback, operation.denied);
        return undefined;
      }
      if (operation?.denied !== undefined) throw operation.denied;
      const passed = row.deep === true ? freeCallbacks(args) : args;
      if (callback !== undefined && (operation !== undefined || row.deep === true)) {
        const back = row.deep === true ? bindIdentity(callback) : callback;
        passed[at] = function (this: unknown, ...results: unknown[]): unknown {
          operation?.end(results[0] ?? undefined);
          return Reflect.apply(back, this, results);
        };
      }
      return endOnThrow(operation, () => inside(row, original, this, passed));
    },
  }.call;
}

function wrapPromise(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args);
      if (operation?.denied !== undefined) return Promise.reject(operation.denied);
      const passed = row.deep === true ? freeCallbacks(args) : args;
      const result = endOnThrow(operation, () => inside(row, original, this, passed));
      if (operation === undefined || !(result instanceof Promise)) {
        operation?.end();
        return result;
      }
      // The derived promise is what the caller gets: a handler on the original beside it would mark a rejection that
      // nobody handles as handled.
      return result.then(
        (value: unknown) => {
          operation.end();
          return value;
        },
        (error: unknown) => {
          operation.end(error);
          throw error;
        },
      );
    },
  }.call;
}

function wrapIterable(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args);
      if (operation?.denied !== undefined) return rejecting(operation.denied);
      const passed = row.deep === true ? freeCallbacks(args) : args;
      const result = endOnThrow(operation, () => inside(row, original, this, passed));
      operation?.end();
      return row.deep === true && isAsyncIterable(result) ? quietIterable(result) : result;
    },
  }.call;
}

/** Describes and judges a call; undefined when it is not recorded. */
function open(row: Row, args: readonly unknown[]): Operation | undefined {
  try {
    if (row.loader === true && (isModuleRead(args[0]) || isEsmLoaderRead(args[0])) && !isSecret(args[0])) {
      count("module_loading");
      return undefined;
    }
    const action = row.describe(args);
    return action && begin(action);
  } catch {
    // Arguments that cannot even be looked at (a proxy, a throwing getter): the original says what is wrong with them.
    return undefined;
  }
}

/** What is required is evaluated and shows in error messages: a secret is read that way, too. */
function isSecret(argument: unknown): boolean {
  const file = fileName(argument);
  return file !== undefined && holdsSecrets(file.uri);
}

function inside(row: Row, original: AnyFunction, self: unknown, args: unknown[]): unknown {
  return row.deep === true
    ? quietlyAsync(() => quietlyApply(original, self, args))
    : quietlyApply(original, self, args);
}

function endOnThrow<T>(operation: Operation | undefined, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    operation?.end(error ?? "_OTHER");
    throw error;
  }
}

/** Functions in options (`filter`, `exclude`) are the application's: what they do is not part of the recorded action. */
function freeCallbacks(args: readonly unknown[]): unknown[] {
  return args.map((argument) => {
    if (typeof argument !== "object" || argument === null || Object.getPrototypeOf(argument) !== Object.prototype)
      return argument;
    const entries = Object.entries(argument);
    if (!entries.some(([, value]) => isFunction(value))) return argument;
    return Object.fromEntries(entries.map(([key, value]) => [key, isFunction(value) ? free(value) : value]));
  });
}

function free(fn: AnyFunction): AnyFunction {
  const bound = bindIdentity(fn);
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      return aloud(() => Reflect.apply(bound, this, args));
    },
  }.call;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return isFunction(property(value, Symbol.asyncIterator));
}

/** Steps of an iteration run quietly: they list directories through other patched functions. */
async function* quietIterable(iterable: AsyncIterable<unknown>): AsyncGenerator {
  const iterator = iterable[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await quietlyAsync(() => iterator.next());
      if (step.done === true) return;
      yield step.value;
    }
  } finally {
    await iterator.return?.();
  }
}

// oxlint-disable-next-line require-yield -- the caller's channel for errors is the first step
async function* rejecting(error: Error): AsyncGenerator {
  throw error;
}
