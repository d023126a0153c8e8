import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

import type { Actor } from "./actor.ts";

/** The tool that an agent called. */
export interface Tool {
  /** `gen_ai.tool.name`. */
  readonly name: string;
  /** `gen_ai.tool.call.id`. */
  readonly callId: string | undefined;
}

/** What led to what happens here. */
export interface Cause {
  /** `audit.cause.record.id`. */
  readonly recordId: string;
  /** The tool call that this is part of. */
  readonly tool: Tool | undefined;
}

/** What travels with the asynchronous context. */
export interface Scope {
  readonly actor: Actor | undefined;
  /** What happens here is part of an action that is recorded already, or our own traffic. */
  readonly quiet: boolean;
  readonly cause: Cause | undefined;
}

// In module scope, with no name on globalThis: what an application reaches is `withAgent` and its like, never this flag.
const storage = capture(new AsyncLocalStorage<Scope | undefined>());

const OWN: Scope = Object.freeze({ actor: undefined, quiet: true, cause: undefined });

let ambient: Scope = { actor: undefined, quiet: false, cause: undefined };

/**
 * The methods as they are now, on the object itself: a replaced `AsyncLocalStorage.prototype.getStore` would be handed
 * this storage as `this`. Node's own calls among the methods go to these, too.
 */
function capture<T extends object>(object: T): T {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (typeof prototype !== "object" || prototype === null) return object;
  for (const key of Reflect.ownKeys(prototype)) {
    const descriptor = Object.getOwnPropertyDescriptor(prototype, key);
    if (descriptor !== undefined && key !== "constructor") Object.defineProperty(object, key, descriptor);
  }
  return object;
}

/** Sets who acts where no `withAgent` says so: the identity of a process that is one agent. */
export function setAmbientActor(actor: Actor | undefined, causeRecordId?: string): void {
  const cause = causeRecordId === undefined ? undefined : { recordId: causeRecordId, tool: undefined };
  ambient = { actor, quiet: false, cause };
}

/** Who acts where no `withAgent` says so. */
export function ambientActor(): Actor | undefined {
  return ambient.actor;
}

/** Who acts, and what led to it. On the way of every action: one look into the storage. */
export function currentScope(): Scope {
  return storage.getStore() ?? ambient;
}

export function currentActor(): Actor | undefined {
  return currentScope().actor;
}

/**
 * Whether there is anybody whose actions here may be recorded.
 * @param nobody the answer outside every identity
 */
export function mayRecord(nobody: boolean): boolean {
  const scope = currentScope();
  return !scope.quiet && (nobody || scope.actor !== undefined);
}

/** Whether what happens now is part of something recorded, or our own traffic. */
export function isQuiet(): boolean {
  return currentScope().quiet;
}

export function runIn<T>(scope: Scope, fn: () => T): T {
  return storage.run(scope, fn);
}

/** Runs `fn` so that neither it nor what it starts is recorded: the inside of a recorded action. */
export function quietlyAsync<T>(fn: () => T): T {
  const { actor, cause } = currentScope();
  return storage.run({ actor, quiet: true, cause }, fn);
}

/** Runs `fn`, and everything it starts, as what a record led to. Without a tool of its own it is still part of the outer. */
export function withCause<T>(recordId: string, tool: Tool | undefined, fn: () => T): T {
  const { actor, quiet, cause } = currentScope();
  return storage.run({ actor, quiet, cause: { recordId, tool: tool ?? cause?.tool } }, fn);
}

/** `fn`, to be called later under the identity of now: for callbacks that cross a pool or a quiet zone. */
export function bindIdentity<A extends unknown[], R>(
  fn: (this: unknown, ...args: A) => R,
): (this: unknown, ...args: A) => R {
  const scope = storage.getStore();
  return function (this: unknown, ...args: A): R {
    return storage.run(scope, () => Reflect.apply(fn, this, args));
  };
}

// Timers and sockets of ours must not keep the context of the agent that happened to be running when they were made.
const root = new AsyncResource("otel-audit");

/** Runs our own work: outside every context of the application, and never recorded. */
export function asOurselves<T>(fn: () => T): T {
  return root.runInAsyncScope(() => storage.run(OWN, fn));
}
