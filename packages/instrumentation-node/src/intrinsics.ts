import { types } from "node:util";

// What the audit asks of the language, as it was when the audit started: an application may replace a global (a library
// of promises, fake timers, a test's stub), and its word must not become the record's.

// oxlint-disable-next-line typescript/unbound-method -- called with its promise as `this`
const { then } = Promise.prototype;
const OverflowError = RangeError;
const PatternError = SyntaxError;
const { isPromise: isNative } = types;

/** Whether it is a promise of the language itself, of this realm or of another one. */
export const isPromise: (value: unknown) => value is Promise<unknown> = isNative;

/** `promise.then(fulfilled, rejected)`, whatever became of `then` since. */
export function whenSettled(
  promise: Promise<unknown>,
  fulfilled: (value: unknown) => unknown,
  rejected: (error: unknown) => unknown,
): Promise<unknown> {
  return Reflect.apply(then, promise, [fulfilled, rejected]);
}

/** Whether the stack was used up; a pattern that is used for the first time says so in its own way. */
export function isOverflow(error: unknown): boolean {
  if (error instanceof OverflowError) return error.message === "Maximum call stack size exceeded";
  return error instanceof PatternError && error.message.endsWith(": Stack overflow");
}

/**
 * To be called first by whoever catches an error and goes on to run what the application asked for: where the stack is
 * used up, what follows would run without having been looked at.
 */
export function rethrowOverflow(error: unknown): void {
  if (isOverflow(error)) throw error;
}
