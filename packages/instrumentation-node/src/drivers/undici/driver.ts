import * as diagnostics from "node:diagnostics_channel";

import { observes } from "../../audit.ts";
import type { Driver, Installed } from "../../driver.ts";
import { AuditPolicyDeniedError } from "../../errors.ts";
import { onPackage } from "../../module-hook.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";
import { withBaggageInList } from "../http/baggage.ts";
import { Exchange } from "../http/exchange.ts";
import { slot } from "../http/slot.ts";
import { destinationOf, innermost, pathOf, takeDecision, wrapDispatch } from "./dispatch.ts";
import { markMaker, parseServer, prototypeOf, rememberOptions } from "./dispatchers.ts";

/**
 * `fetch` and undici, the one in Node and any copy from npm (6, 7, 8). Every request of any of them is announced once,
 * hop by hop, on process-wide channels, which is where records begin and end. What a channel cannot do is done at
 * `dispatch`: to hold or stop a request before there is a connection, and to run it in its caller's context when a pool
 * had to queue it.
 */
export const undiciDriver: Driver = { name: "undici", install };

/** Requests without an answer yet. */
const pending = slot<Exchange>();
/** Prototypes that have a wrapped `dispatch`. */
const patched = new WeakSet<object>();

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
  // The other classes inherit from these, or hand on to them.
  for (const name of ["Client", "Pool", "Agent", "ProxyAgent"]) {
    const prototype = property(exports[name], "prototype");
    if (!isObject(prototype)) continue;
    if (name === "Client") markMaker(prototype);
    patchDispatch(prototype);
  }
  for (const name of ["Client", "Pool"]) keep(replace(exports, name, wrapConstructor));
  keep(replace(exports, "fetch", (original) => wrapFetch(original, undefined)));
}

/** Which unix socket a Client or Pool uses cannot be seen later. */
function wrapConstructor(original: AnyFunction): AnyFunction {
  return new Proxy(original, {
    construct: (target, args: unknown[], newTarget): object => {
      const dispatcher: object = Reflect.construct(target, args, newTarget);
      rememberOptions(dispatcher, args[1]);
      return dispatcher;
    },
  });
}

const GLOBAL_DISPATCHERS = [Symbol.for("undici.globalDispatcher.1"), Symbol.for("undici.globalDispatcher.2")];

/**
 * Node's own undici has no other name by which it could be reached than the dispatcher it sets, which copies from npm
 * then use too. It is loaded by the first use of `fetch`. With NODE_USE_ENV_PROXY it is one that has others in it.
 */
function patchGlobalDispatchers(): void {
  for (const symbol of GLOBAL_DISPATCHERS) {
    const dispatcher: unknown = property(globalThis, symbol);
    if (!isObject(dispatcher)) continue;
    patchDispatch(dispatcher);
    for (const own of Object.getOwnPropertySymbols(dispatcher)) {
      const inner = property(dispatcher, own);
      if (isObject(inner) && isFunction(inner["dispatch"])) patchDispatch(inner);
    }
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

function onCreate(message: unknown): void {
  const request = property(message, "request");
  if (!isObject(request)) return;
  const exchange = (takeDecision() ?? unseen(request)).exchange;
  if (exchange === undefined) return;
  // Options can answer differently when they are read again: this is what is sent.
  exchange.sending(String(request["method"]), pathOf(request), hostOf(request));
  const { operation } = exchange;
  if (operation === undefined) return;
  if (operation.denied !== undefined) {
    // To throw here would be an uncaught exception, and the request would still be sent.
    abort(request, operation.denied);
    return;
  }
  pending.fill(request, exchange);
  if (Array.isArray(request["headers"])) withBaggageInList(request["headers"], exchange);
  if (request["upgrade"] || request["method"] === "CONNECT") watchUpgrade(request, exchange);
}

/** A copy whose dispatchers were not wrapped, such as one in a bundle; where it can be, it is from now on. */
function unseen(request: object): { readonly exchange: Exchange | undefined } {
  const maker = innermost();
  const prototype = maker === undefined ? undefined : prototypeOf(maker);
  if (prototype !== undefined) markMaker(prototype);
  else patchGlobalDispatchers();
  if (!observes()) return { exchange: undefined };
  const server = parseServer(property(request, "origin"));
  return {
    exchange: new Exchange(destinationOf(request, server, { socketPath: undefined, proxy: undefined }), false, false),
  };
}

function hostOf(request: object): string | undefined {
  const host = property(request, "host");
  return typeof host === "string" ? host : undefined;
}

/** undici 6 and 7 do not announce the answer to an upgrade. */
function watchUpgrade(request: object, exchange: Exchange): void {
  replace(
    request,
    "onUpgrade",
    (original) =>
      function (this: unknown, ...args: unknown[]): unknown {
        if (typeof args[0] === "number") exchange.answered(args[0], args[2]);
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
  const exchange = exchangeOf(message);
  const status = property(property(message, "response"), "statusCode");
  if (exchange === undefined || typeof status !== "number") return;
  // 103 Early Hints are not the answer; 101 is.
  if (status >= 200 || status === 101) exchange.answered(status, undefined);
}

function onError(message: unknown): void {
  exchangeOf(message)?.failed(property(message, "error") ?? "_OTHER");
}

function exchangeOf(message: unknown): Exchange | undefined {
  const request = property(message, "request");
  return isObject(request) ? pending.read(request) : undefined;
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
