import type { ClientRequest } from "node:http";
import * as module from "node:module";

import { observes } from "../../audit.ts";
import { http, https } from "../../builtins.ts";
import type { Driver, Installed } from "../../driver.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isObject, property } from "../../unknown.ts";
import { withBaggage } from "./baggage.ts";
import { addressOf, type Address, expecting } from "../net/expected.ts";
import { Exchange } from "./exchange.ts";
import { refuse, untilDecided } from "./hold.ts";
import { foreignAgent, ownWay } from "./own-way.ts";
import { destinationOf, hostHeaderOf, isOwnWay } from "./request.ts";
import { slot } from "./slot.ts";

/**
 * Requests by `http` and `https`. Whatever makes them (`request`, `get`, `new ClientRequest`, also functions that were
 * taken out of the module earlier), each is a ClientRequest, asks its agent for a connection, renders its head and emits
 * what became of it; those are the methods that are wrapped, and no listener is added. A record ends when the
 * answer's head is there, or when the request fails.
 */
export const httpDriver: Driver = { name: "http", install };

/** Of the requests that were judged; undefined: not to be recorded. */
const exchanges = slot<Exchange | undefined>();
/** Agents of other makers, or their prototypes. */
const watched = new WeakSet<object>();

function install(): Installed {
  const undo = [
    replace(http.Agent.prototype, "addRequest", wrapAddRequest),
    replace(http.ClientRequest.prototype, "onSocket", wrapOnSocket),
    replace(http.ClientRequest.prototype, "_storeHeader", wrapStoreHeader),
    replace(http.ClientRequest.prototype, "emit", wrapEmit),
    replace(http, "request", wrapCall),
    replace(http, "get", wrapCall),
    replace(https, "request", wrapCall),
    replace(https, "get", wrapCall),
  ];
  module.syncBuiltinESMExports();
  return {
    covered: ["http", "https"],
    uninstall: () => {
      for (const restore of undo) restore?.();
      module.syncBuiltinESMExports();
    },
  };
}

/** Where the connection of a judged request goes, for who opens it; undefined for what is no such request. */
export function requestAddress(request: unknown): Address | undefined {
  const exchange = isObject(request) ? exchanges.read(request) : undefined;
  if (exchange === undefined) return undefined;
  const { host, port, scheme, socketPath } = exchange.destination;
  return addressOf(host, port || (scheme === "https" ? 443 : 80), socketPath);
}

/** Where a request asks for its connection: before there is one. */
function wrapAddRequest(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [request, options] = args;
    if (!(request instanceof http.ClientRequest) || exchanges.isFilled(request))
      return Reflect.apply(original, this, args);
    if (!observes()) {
      exchanges.fill(request, undefined);
      return Reflect.apply(original, this, args);
    }
    const exchange = new Exchange(destinationOf(request, options, this), true, isOwnWay(options, this));
    return admit(request, exchange, original, this, args);
  };
}

/** Has a request get its connection, by `connect`, when and if it may. */
function admit(
  request: ClientRequest,
  exchange: Exchange,
  connect: AnyFunction,
  self: unknown,
  args: unknown[],
): unknown {
  exchanges.fill(request, exchange);
  const { operation } = exchange;
  if (operation?.denied !== undefined) return refuse(request, operation.denied);
  if (operation?.decided !== undefined) {
    return untilDecided(request, operation, operation.decided, () => Reflect.apply(connect, self, args));
  }
  try {
    return Reflect.apply(connect, self, args);
  } catch (error) {
    exchange.failed(error);
    throw error;
  }
}

/**
 * Where it is given one. Judged already but for those whose agent was well hidden (getters among the options): nothing of
 * the request itself has left yet.
 */
function wrapOnSocket(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    if (!(this instanceof http.ClientRequest) || exchanges.isFilled(this)) return Reflect.apply(original, this, args);
    const exchange = observes() ? new Exchange(destinationOf(this, undefined, undefined), false, true) : undefined;
    exchanges.fill(this, exchange);
    return Reflect.apply(original, this, [args[0], exchange?.operation?.denied ?? args[1]]);
  };
}

/** Where its head is rendered, after which nothing of it can be changed. */
function wrapStoreHeader(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const exchange = isObject(this) ? exchanges.read(this) : undefined;
    if (exchange !== undefined && this instanceof http.ClientRequest) {
      const line = String(args[0]);
      const space = line.indexOf(" ");
      exchange.sending(
        line.slice(0, space),
        line.slice(space + 1, line.lastIndexOf(" HTTP/")),
        hostHeaderOf(this, args[1]),
      );
      if (exchange.operation?.denied !== undefined) this.destroy(exchange.operation.denied);
      args[1] = withBaggage(args[1], exchange);
    }
    return Reflect.apply(original, this, args);
  };
}

/** What becomes of it. The application hears of it afterwards. */
function wrapEmit(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const exchange = isObject(this) ? exchanges.read(this) : undefined;
    if (exchange !== undefined) observe(exchange, this, args[0], args[1]);
    return Reflect.apply(original, this, args);
  };
}

function observe(exchange: Exchange, request: unknown, event: unknown, value: unknown): void {
  switch (event) {
    case "response":
    case "upgrade":
    case "connect":
      return answer(exchange, request, value);
    case "error":
      return exchange.failed(value ?? "_OTHER");
    case "close":
      // An answer that nobody listened for, or an abort before there was a connection.
      answer(exchange, request, property(request, "res"));
      return exchange.failed("ABORT_ERR");
    default:
  }
}

function answer(exchange: Exchange, request: unknown, response: unknown): void {
  const status = property(response, "statusCode");
  if (typeof status === "number") exchange.answered(status, property(request, "socket"));
}

/** Only for who brings a connection of his own: everybody else is seen by what a ClientRequest does. */
function wrapCall(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const agent = foreignAgent(args);
    if (agent !== undefined) watch(agent);
    const own = ownWay(args);
    if (own === undefined) return Reflect.apply(original, this, args);
    const request = Reflect.apply(original, this, own.args);
    if (!(request instanceof http.ClientRequest) || own.options === undefined) return request;
    const exchange = observes() ? new Exchange(destinationOf(request, own.options, undefined), true, true) : undefined;
    if (exchange === undefined) own.connect();
    else admit(request, exchange, () => ownConnection(request, own.connect), undefined, []);
    return request;
  };
}

function ownConnection(request: ClientRequest, connect: () => void): void {
  const address = requestAddress(request);
  expecting(address === undefined ? [] : [address], connect);
}

/** An agent that is none of Node's. */
function watch(agent: object): void {
  if (watched.has(agent)) return;
  watched.add(agent);
  replace(agent, "addRequest", wrapAddRequest);
}
