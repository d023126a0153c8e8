import type { ClientRequest } from "node:http";

import type { Operation } from "../../audit.ts";
import { isFunction, property } from "../../unknown.ts";

/** The error arrives as that of a connection that could not be made: later, as an event, then `close`. */
export function refuse(request: ClientRequest, error: unknown): void {
  give(request, error);
}

/** Without an error: to a request that was destroyed meanwhile, which then says so. */
function give(request: ClientRequest, error: unknown): void {
  const onSocket = property(request, "onSocket");
  if (isFunction(onSocket)) Reflect.apply(onSocket, request, [null, error]);
}

/**
 * Keeps a request without a connection until the approver has answered. Who destroys it before that hears of it at once.
 * @param connect gives it its connection
 */
export function untilDecided(
  request: ClientRequest,
  operation: Operation,
  decided: Promise<void>,
  connect: () => unknown,
): void {
  let waiting = true;
  const go = (): void => {
    if (!waiting) return;
    waiting = false;
    Reflect.deleteProperty(request, "destroy");
    if (request.destroyed || operation.denied !== undefined) return give(request, operation.denied);
    try {
      connect();
    } catch (error) {
      give(request, error);
    }
  };
  const destroy = property(request, "destroy");
  Object.defineProperty(request, "destroy", {
    configurable: true,
    writable: true,
    value: function (this: unknown, ...args: unknown[]): unknown {
      const result = isFunction(destroy) ? Reflect.apply(destroy, this, args) : undefined;
      go();
      return result;
    },
  });
  void decided.then(go);
}
