// A function written as a method has no `prototype`, like most of those it stands for; taking it out of its object is
// the point here.
// oxlint-disable typescript/unbound-method
import { aloud, begin, count, type ObservedAction, observes, type Operation, quietlyApply } from "../../audit.ts";
import { bindIdentity, quietlyAsync } from "../../identity.ts";
import { AuditPolicyDeniedError } from "../../errors.ts";
import { isOverflow, isPromise, rethrowOverflow, whenSettled } from "../../intrinsics.ts";
import { isModuleRead } from "../../module-hook.ts";
import { type AnyFunction, isFunction, property } from "../../unknown.ts";
import { isEsmLoaderRead } from "./esm-loader.ts";
import { forgetLinks, realPath } from "../../links.ts";
import { fileName } from "./paths.ts";
import { fixedPath, stableList, stableOptions, stablePath } from "./stable.ts";
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
      const operation = open(row, args, this, false);
      if (operation === undefined) return quietlyApply(original, this, args);
      if (operation.denied !== undefined) throw operation.denied;
      let result: unknown;
      try {
        result = quietlyApply(original, this, args);
      } catch (error) {
        end(row, operation, error ?? "_OTHER");
        throw error;
      }
      end(row, operation);
      return result;
    },
  }.call;
}

function wrapCallback(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const at = lastFunction(args);
      const callback = args[at];
      // Without a callback the original throws at once.
      const operation = open(row, args, this, at !== -1);
      if (!isFunction(callback)) return runSync(row, operation, original, this, args);
      if (operation?.denied !== undefined) {
        process.nextTick(callback, operation.denied);
        return undefined;
      }
      if (operation !== undefined || row.deep === true) args[at] = ending(row, operation, callback);
      if (operation?.decided === undefined) {
        try {
          return inside(row, original, this, args);
        } catch (error) {
          if (isOverflow(error)) {
            if (operation !== undefined) end(row, operation, error);
            throw error;
          }
          // Arguments that `fs` does not take; its error may name the callback, which has to be the application's then.
          args[at] = callback;
          return runSync(row, operation, original, this, args);
        }
      }
      fix(row, args);
      const decided = decide(row, operation, args, this);
      void holdCallback(row, operation, decided, () => inside(row, original, this, args), callback);
      return undefined;
    },
  }.call;
}

/** The application's callback, which hears after the record is written. */
function ending(row: Row, operation: Operation | undefined, callback: AnyFunction): AnyFunction {
  const back = row.deep === true ? bindIdentity(callback) : callback;
  return function (this: unknown, ...results: unknown[]): unknown {
    if (operation !== undefined) end(row, operation, results[0]);
    return Reflect.apply(back, this, results);
  };
}

/** Runs the call when it is approved. What the callback throws is an uncaught exception, as it is without us. */
async function holdCallback(
  row: Row,
  operation: Operation,
  decided: Promise<Error | undefined>,
  run: () => unknown,
  callback: AnyFunction,
): Promise<void> {
  const denied = await decided;
  if (denied !== undefined) {
    process.nextTick(callback, denied);
    return;
  }
  try {
    run();
  } catch (error) {
    // The caller has long gone on; it hears of its arguments as of all else.
    end(row, operation, error ?? "_OTHER");
    process.nextTick(callback, error);
  }
}

function wrapPromise(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args, this, true);
      if (operation === undefined) return inside(row, original, this, args);
      if (operation.denied !== undefined) return Promise.reject(operation.denied);
      if (operation.decided !== undefined) {
        fix(row, args);
        return hold(row, operation, decide(row, operation, args, this), () => inside(row, original, this, args));
      }
      return settled(row, operation, runSync(row, operation, original, this, args));
    },
  }.call;
}

async function hold(
  row: Row,
  operation: Operation,
  decided: Promise<Error | undefined>,
  run: () => unknown,
): Promise<unknown> {
  const denied = await decided;
  if (denied !== undefined) throw denied;
  return settled(row, operation, run());
}

/**
 * Waits for the approver. What was approved is what is done: a path that leads elsewhere by then, by other links or from
 * another directory, is not what was asked about.
 */
async function decide(
  row: Row,
  operation: Operation,
  args: readonly unknown[],
  self: unknown,
): Promise<Error | undefined> {
  const asked = row.describe(args, self);
  await operation.decided;
  if (operation.denied !== undefined || asked === undefined) return operation.denied;
  forgetLinks();
  const found = row.describe(args, self)?.targets.map(({ id }) => id) ?? [];
  if (found.join("\n") === asked.targets.map(({ id }) => id).join("\n")) return undefined;
  operation.end(CHANGED);
  const reason = "what was approved is not where the path leads now";
  const target = asked.targets[0]?.id ?? "";
  return new AuditPolicyDeniedError({
    rule: CHANGED,
    reason,
    recordId: operation.recordId,
    event: asked.event,
    target,
  });
}

/** `error.type` of an action that changed while it waited for an approver. */
const CHANGED = "changed_while_waiting";

/**
 * The derived promise is what the caller gets: a handler on the original beside it would mark a rejection that nobody
 * handles as handled.
 */
function settled(row: Row, operation: Operation, result: unknown): unknown {
  if (!isPromise(result)) {
    end(row, operation);
    return result;
  }
  return whenSettled(
    result,
    (value) => {
      end(row, operation);
      return value;
    },
    (error) => {
      end(row, operation, error ?? "_OTHER");
      throw error;
    },
  );
}

function wrapIterable(row: Row, original: AnyFunction): AnyFunction {
  return {
    call(this: unknown, ...args: unknown[]): unknown {
      if (!observes()) return Reflect.apply(original, this, args);
      const operation = open(row, args, this, true);
      if (operation?.denied !== undefined) return rejecting(operation.denied);
      if (operation?.decided !== undefined) {
        const decided = decide(row, operation, args, this);
        return held(row, operation, decided, () => inside(row, original, this, args));
      }
      const result = runSync(row, operation, original, this, args);
      if (operation !== undefined) end(row, operation);
      return row.deep === true && isAsyncIterable(result) ? quietIterable(result) : result;
    },
  }.call;
}

/** Describes and judges a call, and makes its arguments stable; undefined when it is not recorded. */
function open(row: Row, args: unknown[], self: unknown, canWait: boolean): Operation | undefined {
  const action = describe(row, args, self);
  return action === undefined ? undefined : begin(action, canWait);
}

function describe(row: Row, args: unknown[], self: unknown): ObservedAction | undefined {
  try {
    const loading = row.loader === true && (isModuleRead(args[0]) || isEsmLoaderRead(args[0])) && isCode(args[0]);
    makeStable(row, args);
    const action = row.describe(args, self);
    return loading && action !== undefined ? { ...action, loading } : action;
  } catch (error) {
    rethrowOverflow(error);
    // Arguments that cannot even be looked at (a throwing getter): the original gets the same answers and throws, too.
    return undefined;
  }
}

const CODE = /\.(?:[cm]?[jt]sx?|json|node|wasm)$/;

/**
 * Whether a module may be in this file. An application can have the loader read any file and look at what it read: what
 * has no name of code is recorded like all that is read, but for the program itself and the programs of packages.
 */
function isCode(argument: unknown): boolean {
  const path = fileName(argument)?.path ?? "";
  return CODE.test(path) || path.includes("/node_modules/") || path === realPath(process.argv[1] ?? "");
}

function makeStable(row: Row, args: unknown[]): void {
  const paths = row.paths ?? 1;
  for (let i = 0; i < paths; i++) {
    if (typeof args[i] === "object") args[i] = stablePath(args[i]);
  }
  if (paths === 0 && Array.isArray(args[0])) args[0] = stableList(args[0]);
  const at = row.options;
  if (at !== undefined && typeof args[at] === "object") {
    args[at] = stableOptions(args[at], row.deep === true ? free : undefined);
  }
}

/** What waits is done as it was when it was judged. */
function fix(row: Row, args: unknown[]): void {
  const paths = Math.min(row.paths ?? 1, args.length);
  // What a symbolic link holds is a text, and relative to where the link is.
  for (let i = row.name === "symlink" ? 1 : 0; i < paths; i++) args[i] = fixedPath(args[i]);
}

function runSync(
  row: Row,
  operation: Operation | undefined,
  original: AnyFunction,
  self: unknown,
  args: unknown[],
): unknown {
  try {
    return inside(row, original, self, args);
  } catch (error) {
    if (operation !== undefined) end(row, operation, error ?? "_OTHER");
    throw error;
  }
}

function inside(row: Row, original: AnyFunction, self: unknown, args: unknown[]): unknown {
  return row.deep === true
    ? quietlyAsync(() => quietlyApply(original, self, args))
    : quietlyApply(original, self, args);
}

function end(row: Row, operation: Operation, error?: unknown): void {
  if (row.moves === true) forgetLinks();
  operation.end(error ?? undefined);
}

function lastFunction(args: readonly unknown[]): number {
  for (let i = args.length - 1; i >= 0; i--) if (typeof args[i] === "function") return i;
  return -1;
}

/** Functions in options (`filter`, `exclude`) are the application's: what they do is not part of the recorded action. */
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

/** Nothing is looked for before the first step, nor before somebody has answered. */
async function* held(
  row: Row,
  operation: Operation,
  decided: Promise<Error | undefined>,
  run: () => unknown,
): AsyncGenerator {
  const denied = await decided;
  if (denied !== undefined) throw denied;
  const result = runHeld(row, operation, run);
  if (isAsyncIterable(result)) yield* row.deep === true ? quietIterable(result) : result;
}

function runHeld(row: Row, operation: Operation, run: () => unknown): unknown {
  try {
    const result = run();
    end(row, operation);
    return result;
  } catch (error) {
    end(row, operation, error ?? "_OTHER");
    throw error;
  }
}

// oxlint-disable-next-line require-yield -- the caller's channel for errors is the first step
async function* rejecting(error: Error): AsyncGenerator {
  throw error;
}
