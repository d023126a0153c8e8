import { AsyncLocalStorage } from "node:async_hooks";

import { observes, type Operation } from "../../audit.ts";
import type { AuditPolicyDeniedError } from "../../errors.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";
import { Exchange } from "../http/exchange.ts";
import { type HttpDestination, textOf } from "../http/target.ts";
import { isMaker, isTunnel, parseServer, serverOf, type Way, wayThrough } from "./dispatchers.ts";

/** Where a request came from, and through what it goes. */
interface Caller {
  /** Runs in the caller's context; undefined while that is the current one. */
  run: (<R>(fn: () => R) => R) | undefined;
  socketPath: string | undefined;
  proxy: string | undefined;
}

/** The caller of a request that is not to be recorded, wherever a pool runs it later. */
const NOBODY: Caller = { run: undefined, socketPath: undefined, proxy: undefined };

/** The request that an agent or pool is just handing on, by its handler; mostly its client makes it before that returns. */
let handed: object | undefined;
let handedBy = NOBODY;
/** Handlers of the others: those that wait in a queue. */
const callers = new WeakMap<object, Caller>();

function callerOf(handler: object): Caller | undefined {
  return handler === handed ? handedBy : callers.get(handler);
}

function forget(handler: object): void {
  if (handler === handed) handed = undefined;
  else callers.delete(handler);
}

/** What was decided at `dispatch` about the request that is made inside of it; without an exchange it is not recorded. */
export interface Decision {
  readonly exchange: Exchange | undefined;
}
const NOTHING: Decision = { exchange: undefined };
let decision: Decision | undefined;
/** The dispatchers whose `dispatch` is running, the innermost last. */
const dispatching: object[] = [];

/** For the request that is being made now; undefined when its dispatcher was never seen. Only once for each. */
export function takeDecision(): Decision | undefined {
  const taken = decision;
  decision = undefined;
  return taken;
}

export function innermost(): object | undefined {
  return dispatching.at(-1);
}

export function wrapDispatch(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const handler = args[1];
    if (!isObject(this) || !isObject(handler)) return Reflect.apply(original, this, args);
    return isMaker(this) ? make(this, original, args, handler) : handOn(this, original, args, handler);
  };
}

/** `dispatch` of an agent or pool: whose request it is is known here, and maybe not where it is made. */
function handOn(dispatcher: object, original: AnyFunction, args: unknown[], handler: object): unknown {
  const known = callerOf(handler);
  if (known !== undefined) {
    if (known !== NOBODY) add(known, wayThrough(dispatcher));
    return within(dispatcher, original, args);
  }
  const own = observes() && !isTunnel(dispatcher, args[0]) ? callerThrough(dispatcher) : NOBODY;
  if (handed !== undefined) callers.set(handed, handedBy);
  handed = handler;
  handedBy = own;
  let result: unknown;
  let isWaiting = false;
  try {
    result = within(dispatcher, original, args);
    isWaiting = callerOf(handler) === own;
  } finally {
    handed = undefined;
  }
  // Queued: whoever lets it through may be anybody. Few requests are, and a snapshot is dear.
  if (isWaiting) callers.set(handler, own);
  if (isWaiting && own !== NOBODY) own.run = AsyncLocalStorage.snapshot();
  return result;
}

function callerThrough(dispatcher: object): Caller {
  const { socketPath, proxy } = wayThrough(dispatcher);
  return { run: undefined, socketPath, proxy };
}

function add(caller: Caller, way: Way): void {
  caller.socketPath ??= way.socketPath;
  caller.proxy ??= way.proxy;
}

/** `dispatch` of a client, which makes the request. */
function make(client: object, original: AnyFunction, args: unknown[], handler: object): unknown {
  const caller = callerOf(handler);
  forget(handler);
  if (caller === NOBODY || isTunnel(client, args[0])) return decide(NOTHING, client, original, args);
  const way = caller ?? wayThrough(client);
  return caller?.run === undefined
    ? makeRequest(client, original, args, way)
    : caller.run(() => makeRequest(client, original, args, way));
}

function makeRequest(client: object, original: AnyFunction, args: unknown[], way: Way): unknown {
  if (!observes()) return decide(NOTHING, client, original, args);
  const server = serverOf(client) ?? parseServer(property(args[0], "origin"));
  const exchange = new Exchange(destinationOf(args[0], server, way), true, false);
  const { operation } = exchange;
  if (operation?.decided !== undefined) {
    void operation.decided
      .then(() => send(client, original, args, exchange, operation))
      .catch((error: unknown) => exchange.failed(error));
    // Taken, as into a queue.
    return true;
  }
  return send(client, original, args, exchange, operation);
}

function send(
  client: object,
  original: AnyFunction,
  args: unknown[],
  exchange: Exchange,
  operation: Operation | undefined,
): unknown {
  if (operation?.denied !== undefined) {
    // undici hands an error that is thrown while it reads the options to the handler, in the way of its version.
    return within(client, original, [refusing(args[0], operation.denied), ...args.slice(1)]);
  }
  return decide({ exchange }, client, original, args);
}

function decide(next: Decision, client: object, original: AnyFunction, args: unknown[]): unknown {
  const before = decision;
  decision = next;
  try {
    const result = within(client, original, args);
    // Nobody took it: no request was made, because the options were wrong or the client is closed.
    if (decision === next) next.exchange?.failed("UND_ERR_NOT_SENT");
    return result;
  } finally {
    decision = before;
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

function refusing(options: unknown, denied: AuditPolicyDeniedError): object {
  const refusal = isObject(options) && !isFunction(options) ? { ...options } : {};
  for (const name of ["path", "method"]) {
    Object.defineProperty(refusal, name, {
      enumerable: true,
      get: () => {
        throw denied;
      },
    });
  }
  return refusal;
}

/** From the options of a dispatch or from a request: both have a method and a path. */
export function destinationOf(
  request: unknown,
  server: ReturnType<typeof parseServer>,
  { socketPath, proxy }: Way,
): HttpDestination {
  return {
    method: textOf(property(request, "method")) || "GET",
    scheme: server?.scheme ?? "http",
    host: server?.host ?? "unknown.invalid",
    port: server?.port,
    path: pathOf(request) || "/",
    socketPath,
    proxy,
  };
}

/** Without the query, which is not recorded and may be added by undici. */
export function pathOf(request: unknown): string {
  const path = textOf(property(request, "path"));
  const query = path.indexOf("?");
  return query === -1 ? path : path.slice(0, query);
}
