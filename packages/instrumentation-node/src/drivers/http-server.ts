import type { EventEmitter } from "node:events";

import { http, https } from "../builtins.ts";
import type { Driver, Installed } from "../driver.ts";
import { runIn, type Scope } from "../identity.ts";
import { acceptsHttp, scopeOfRequest } from "../propagation/propagation.ts";
import { replace } from "../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";

/**
 * Requests that arrive at the process's own `http` and `https` servers and say who acts: they are answered under that
 * identity, as far as the sender is one whose word is taken. Nothing is patched while nobody's is. It records nothing.
 */
export const httpServerDriver: Driver = { name: "http server", install };

function install(): Installed {
  if (!acceptsHttp()) return { covered: [], uninstall: () => {} };
  const undo = [http.Server.prototype, https.Server.prototype].map((prototype) => replace(prototype, "emit", wrapEmit));
  return {
    covered: [],
    uninstall: () => {
      for (const restore of undo) restore?.();
    },
  };
}

/** Events of a server that hand it a request. */
const REQUESTS: ReadonlySet<unknown> = new Set(["request", "checkContinue", "checkExpectation", "upgrade", "connect"]);

function wrapEmit(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const scope = REQUESTS.has(args[0]) ? scopeOf(args[1]) : undefined;
    if (scope === undefined) return Reflect.apply(original, this, args);
    // Their events come in the context of the connection, which other requests share.
    for (const emitter of [args[1], args[2]]) if (isEmitter(emitter)) follow(emitter, scope);
    return runIn(scope, () => Reflect.apply(original, this, args));
  };
}

function scopeOf(request: unknown): Scope | undefined {
  const header = property(property(request, "headers"), "baggage");
  if (header === undefined) return undefined;
  const address = property(property(request, "socket"), "remoteAddress");
  return scopeOfRequest(header, typeof address === "string" ? address : undefined);
}

function isEmitter(value: unknown): value is EventEmitter {
  return isObject(value) && isFunction(value["emit"]);
}

function follow(emitter: EventEmitter, scope: Scope): void {
  replace(
    emitter,
    "emit",
    (original) =>
      function (this: unknown, ...args: unknown[]): unknown {
        return runIn(scope, () => Reflect.apply(original, this, args));
      },
  );
}
