import { AsyncLocalStorage } from "node:async_hooks";
import * as diagnostics from "node:diagnostics_channel";

import { begin, type ObservedAction, observes, type Operation } from "../audit.ts";
import type { Driver, Installed } from "../driver.ts";
import { AuditPolicyDeniedError } from "../errors.ts";
import { onPackage } from "../module-hook.ts";
import { replace } from "../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { answered } from "./http.ts";
import { httpAction, textOf } from "./http-target.ts";

/**
 * `fetch` and undici, the one in Node and any copy from npm (6, 7, 8). Every request of any of them is announced once,
 * hop by hop, on process-wide channels, which is where records begin and end. What a channel cannot do is done at
 * `dispatch`: to stop a request before there is a connection, and to run it in its caller's context when a pool had to
 * queue it.
 */
export const undiciDriver: Driver = { name: "undici", install };

/** Requests without an answer yet. */
const pending = new WeakMap<object, Operation>();
/** Where a request came from, and through what it goes. */
interface Caller {
  /** Runs in the caller's context; undefined while that is the current one. */
  run: (<R>(fn: () => R) => R) | undefined;
  readonly socketPath: string | undefined;
}

/** The caller of a request that is not to be recorded, wherever a pool runs it later. */
const NOBODY: Caller = { run: undefined, socketPath: undefined };
const NOTHING = { operation: undefined };

/** Handlers of requests on their way through agents and pools. */
const callers = new WeakMap<object, Caller>();
/** Prototypes that have a wrapped `dispatch`. */
const patched = new WeakSet<object>();
/** Prototypes whose `dispatch` makes the request itself (true) or hands it on to another dispatcher. */
const makers = new WeakMap<object, boolean>();
const origins = new WeakMap<object, unknown>();
const socketPaths = new WeakMap<object, string | undefined>();
/** The dispatchers whose `dispatch` is running, the innermost last. */
const dispatching: object[] = [];
/** What was decided at `dispatch` about the request that is made inside of it. */
let decided: { readonly operation: Operation | undefined } | undefined;

let undo: (() => void)[] = [];

function install(): Installed {
  const channels: readonly [string, (message: unknown) => void][] = [
    ["undici:request:create", onCreate],
    ["undici:request:headers", onHeaders],
    ["undici:request:error", onError],
  ];
  for (const [name, listener] of channels) diagnostics.subscribe(name, listener);
  const unhook = onPackage("undici", (exports) => patchPackage(exports));
  keep(replace(globalThis, "fetch", (original) => wrapFetch(original, loadOwnUndici)));
  patchGlobalDispatchers();
  return {
    covered: ["fetch", "undici"],
    uninstall: () => {
      for (const [name, listener] of channels) diagnostics.unsubscribe(name, listener);
      unhook();
      for (const restore of undo) restore();
      undo = [];
    },
  };
}

function keep(restore: (() => void) | undefined): void {
  if (restore !== undefined) undo.push(restore);
}

function patchPackage(exports: unknown): void {
  if (!isObject(exports)) return;
  patchGlobalDispatchers();
  for (const name of ["Client", "Pool", "Agent"]) {
    const prototype = property(exports[name], "prototype");
    if (!isObject(prototype)) continue;
    if (name === "Client") makers.set(prototype, true);
    patchDispatch(prototype);
  }
  keep(replace(exports, "fetch", (original) => wrapFetch(original, undefined)));
}

const GLOBAL_DISPATCHERS = [Symbol.for("undici.globalDispatcher.1"), Symbol.for("undici.globalDispatcher.2")];

/**
 * Node's own undici has no other name by which it could be reached than the dispatcher it sets, which copies from npm
 * then use too. It is loaded by the first use of `fetch`.
 */
function patchGlobalDispatchers(): void {
  for (const symbol of GLOBAL_DISPATCHERS) {
    const dispatcher: unknown = property(globalThis, symbol);
    if (isObject(dispatcher)) patchDispatch(dispatcher);
  }
}

function loadOwnUndici(): void {
  // The getter loads undici; at the start of the process that would cost every program what few need.
  void globalThis.Response;
  patchGlobalDispatchers();
}

/** Wraps the `dispatch` that all dispatchers of a copy inherit. */
function patchDispatch(dispatcher: object): void {
  for (let at: object | undefined = dispatcher; at !== undefined; at = prototypeOf(at)) {
    if (!Object.hasOwn(at, "dispatch") || patched.has(at)) continue;
    const restore = replace(at, "dispatch", wrapDispatch);
    if (restore === undefined) continue;
    const prototype = at;
    patched.add(prototype);
    keep(() => {
      patched.delete(prototype);
      restore();
    });
  }
}

function wrapDispatch(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const handler = args[1];
    if (!isObject(this) || !isObject(handler)) return Reflect.apply(original, this, args);
    const caller = callers.get(handler);
    if (!isMaker(this)) {
      if (caller !== undefined) return within(this, original, args);
      const own: Caller = observes() ? { run: undefined, socketPath: socketPathOf(this) } : NOBODY;
      callers.set(handler, own);
      const result = within(this, original, args);
      // Queued: whoever lets it through may be anybody. Few requests are, and a snapshot is dear.
      if (own !== NOBODY && callers.get(handler) === own) own.run = AsyncLocalStorage.snapshot();
      return result;
    }
    callers.delete(handler);
    if (caller === NOBODY) return decide(NOTHING, () => within(this, original, args));
    const dispatch = (): unknown => makeRequest(this, original, args, caller?.socketPath);
    return caller?.run === undefined ? dispatch() : caller.run(dispatch);
  };
}

/** `dispatch` of a client: decides about the one request that it is going to make. */
function makeRequest(client: object, original: AnyFunction, args: unknown[], socketPath: string | undefined): unknown {
  if (!observes()) return decide(NOTHING, () => within(client, original, args));
  const [options, ...rest] = args;
  const operation = begin(describe(options, clientOrigin(client) ?? property(options, "origin"), socketPath));
  if (operation?.denied !== undefined) {
    // undici hands an error that is thrown while it reads the options to the handler, in the way of its version.
    return within(client, original, [refuse(options, operation.denied), ...rest]);
  }
  const decision = { operation };
  return decide(decision, () => {
    const result = within(client, original, args);
    // Nobody took it: no request was made, because the options were wrong or the client is closed.
    if (decided === decision) operation?.end("UND_ERR_NOT_SENT");
    return result;
  });
}

function decide<T>(decision: typeof decided, fn: () => T): T {
  const before = decided;
  decided = decision;
  try {
    return fn();
  } finally {
    decided = before;
  }
}

function within(dispatcher: object, original: AnyFunction, args: unknown[]): unknown {
  dispatching.push(dispatcher);
  try {
    return Reflect.apply(original, dispatcher, args);
  } finally {
    dispatching.pop();
  }
}

function refuse(options: unknown, denied: AuditPolicyDeniedError): object {
  const refusing = isObject(options) ? { ...options } : {};
  for (const name of ["path", "method"]) {
    Object.defineProperty(refusing, name, {
      enumerable: true,
      get: () => {
        throw denied;
      },
    });
  }
  return refusing;
}

/** Also the clients of Node's own undici, whose class cannot be reached beforehand. */
function isMaker(dispatcher: object): boolean {
  const prototype = prototypeOf(dispatcher);
  if (prototype === undefined) return false;
  let known = makers.get(prototype);
  if (known === undefined) {
    known = property(prototype["constructor"], "name") === "Client" || isMaker(prototype);
    makers.set(prototype, known);
  }
  return known;
}

function prototypeOf(value: object): Record<PropertyKey, unknown> | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  return isObject(prototype) ? prototype : undefined;
}

function onCreate(message: unknown): void {
  const request = property(message, "request");
  if (!isObject(request)) return;
  let decision = decided;
  decided = undefined;
  if (decision === undefined) {
    // A copy whose dispatchers were not wrapped: next time they are known.
    const maker = dispatching.at(-1);
    const prototype = maker === undefined ? undefined : prototypeOf(maker);
    if (prototype !== undefined) makers.set(prototype, true);
    decision = { operation: observes() ? begin(describe(request, request["origin"], undefined)) : undefined };
  }
  const { operation } = decision;
  if (operation === undefined) return;
  if (operation.denied !== undefined) {
    // To throw here would be an uncaught exception, and the request would still be sent.
    abort(request, operation.denied);
    return;
  }
  pending.set(request, operation);
  if (request["upgrade"] || request["method"] === "CONNECT") watchUpgrade(request, operation);
}

/** undici 6 and 7 do not announce the answer to an upgrade. */
function watchUpgrade(request: object, operation: Operation): void {
  replace(
    request,
    "onUpgrade",
    (original) =>
      function (this: unknown, ...args: unknown[]): unknown {
        if (typeof args[0] === "number") answered(operation, args[0]);
        return Reflect.apply(original, this, args);
      },
  );
}

function abort(request: Record<PropertyKey, unknown>, error: AuditPolicyDeniedError): void {
  const fail = request["onError"] ?? request["onResponseError"];
  if (isFunction(fail)) Reflect.apply(fail, request, [error]);
  request["aborted"] = true;
}

function onHeaders(message: unknown): void {
  const operation = operationOf(message);
  const status = property(property(message, "response"), "statusCode");
  if (operation === undefined || typeof status !== "number") return;
  // 103 Early Hints are not the answer; 101 is.
  if (status >= 200 || status === 101) answered(operation, status);
}

function onError(message: unknown): void {
  const error = property(message, "error");
  operationOf(message)?.end(error ?? "_OTHER");
}

function operationOf(message: unknown): Operation | undefined {
  const request = property(message, "request");
  return isObject(request) ? pending.get(request) : undefined;
}

/** From the options of a dispatch or from a request: both have a method and a path. */
function describe(request: unknown, origin: unknown, socketPath: string | undefined): ObservedAction {
  const url = toUrl(origin);
  return httpAction({
    method: textOf(property(request, "method")) || "GET",
    scheme: url?.protocol === "https:" ? "https" : "http",
    host: url?.hostname ?? "unknown.invalid",
    port: url?.port,
    path: textOf(property(request, "path")) || "/",
    socketPath,
  });
}

function toUrl(origin: unknown): URL | undefined {
  try {
    return new URL(textOf(origin));
  } catch {
    return undefined;
  }
}

/** What a client connects to, whatever a request's options say. */
function clientOrigin(client: object): unknown {
  if (!origins.has(client)) origins.set(client, property(ownSymbol(client, "url"), "origin"));
  return origins.get(client);
}

/** The unix socket that an agent was told to use for all hosts. A Client or Pool of its own does not keep it. */
function socketPathOf(dispatcher: object): string | undefined {
  if (socketPaths.has(dispatcher)) return socketPaths.get(dispatcher);
  const options = ownSymbol(dispatcher, "options");
  const path = property(options, "socketPath") ?? property(property(options, "connect"), "socketPath");
  socketPaths.set(dispatcher, typeof path === "string" ? path : undefined);
  return socketPaths.get(dispatcher);
}

function ownSymbol(value: object, description: string): unknown {
  const symbol = Object.getOwnPropertySymbols(value).find((candidate) => candidate.description === description);
  return symbol === undefined ? undefined : property(value, symbol);
}

/**
 * A `fetch` that rejects with the denial itself; undici's own rejection is a TypeError "fetch failed" with the denial as
 * its cause.
 */
function wrapFetch(original: AnyFunction, before: (() => void) | undefined): AnyFunction {
  let first = before;
  return function (this: unknown, ...args: unknown[]): unknown {
    first?.();
    first = undefined;
    const result = Reflect.apply(original, this, args);
    return result instanceof Promise ? result.catch(rethrow) : result;
  };
}

function rethrow(error: unknown): never {
  const cause = property(error, "cause");
  throw cause instanceof AuditPolicyDeniedError ? cause : error;
}
