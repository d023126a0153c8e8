import * as diagnostics from "node:diagnostics_channel";
import { errorMonitor } from "node:events";
import type { OutgoingMessage } from "node:http";
import * as module from "node:module";
import { urlToHttpOptions } from "node:url";

import { ATTR_HTTP_RESPONSE_STATUS_CODE } from "@otel-audit/semantic-conventions";

import { begin, observes, type Operation } from "../audit.ts";
import { http, https } from "../builtins.ts";
import type { Driver, Installed } from "../driver.ts";
import type { AuditPolicyDeniedError } from "../errors.ts";
import { replace } from "../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { httpAction, type HttpDestination, textOf } from "./http-target.ts";

/**
 * Requests by `http` and `https`. All of them are a ClientRequest, but its constructor is internal to Node: what can be
 * wrapped are the five ways to it. A record ends when the response's headers are there, or when the request fails.
 */
export const httpDriver: Driver = { name: "http", install };

/** The module a request was made through, which gives it its defaults. */
type Scheme = "http" | "https";

/** Requests without an answer yet. */
const pending = new WeakMap<object, Operation>();

/** Published when the headers are read, before `response` listeners run; a listener of our own would keep Node from
 * discarding responses that nobody reads. */
const RESPONSE_CHANNEL = "http.client.response.finish";

function install(): Installed {
  const undo = [
    replace(http, "request", (original) => wrapCall(original, "http")),
    replace(http, "get", (original) => wrapCall(original, "http")),
    replace(https, "request", (original) => wrapCall(original, "https")),
    replace(https, "get", (original) => wrapCall(original, "https")),
    replace(http, "ClientRequest", wrapConstructor),
    // `request.constructor === http.ClientRequest` holds as before.
    replace(http.ClientRequest.prototype, "constructor", (original) => {
      const wrapped: unknown = http.ClientRequest;
      return isFunction(wrapped) ? wrapped : original;
    }),
  ];
  diagnostics.subscribe(RESPONSE_CHANNEL, onResponse);
  module.syncBuiltinESMExports();
  return {
    covered: ["http", "https"],
    uninstall: () => {
      for (const restore of undo) restore?.();
      diagnostics.unsubscribe(RESPONSE_CHANNEL, onResponse);
      module.syncBuiltinESMExports();
    },
  };
}

function wrapCall(original: AnyFunction, scheme: Scheme): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    if (!observes()) return Reflect.apply(original, this, args);
    return run(args, scheme, (actual) => Reflect.apply(original, this, actual));
  };
}

function wrapConstructor(original: AnyFunction): AnyFunction {
  return new Proxy(original, {
    construct: (target, args: unknown[], newTarget): object => {
      const construct = (actual: unknown[]): object => {
        const request: object = Reflect.construct(target, actual, newTarget);
        return request;
      };
      return observes() ? run(args, "http", construct) : construct(args);
    },
    // The way before classes: `http.ClientRequest.call(this, options)`.
    apply: (target, self, args: unknown[]) => {
      if (!observes()) return Reflect.apply(target, self, args);
      return run(args, "http", (actual) => Reflect.apply(target, self, actual) ?? self);
    },
  });
}

/** Makes a request by `make`, or one that fails when it may not be made. */
function run<T>(args: unknown[], scheme: Scheme, make: (args: unknown[]) => T): T {
  const destination = describe(args, scheme);
  const operation = destination === undefined ? undefined : begin(httpAction(destination));
  if (operation === undefined) return make(args);
  if (operation.denied !== undefined) return make(withAgent(args, new DenyingAgent(operation.denied, args, scheme)));
  let request: T;
  try {
    request = make(args);
  } catch (error) {
    operation.end(error);
    throw error;
  }
  if (request instanceof http.OutgoingMessage) follow(request, operation);
  else operation.end();
  return request;
}

function follow(request: OutgoingMessage, operation: Operation): void {
  pending.set(request, operation);
  // Not `error`: a listener there would keep an error that the application does not handle from ending it.
  request.once(errorMonitor, (error: unknown) => operation.end(error));
  // An upgrade, which the channel does not tell of, or an abort before there was a connection.
  request.once("close", () => {
    const status = property(property(request, "res"), "statusCode");
    if (typeof status === "number") answered(operation, status);
    else operation.end("ABORT_ERR");
  });
}

function onResponse(message: unknown): void {
  const request = property(message, "request");
  const operation = isObject(request) ? pending.get(request) : undefined;
  const status = property(property(message, "response"), "statusCode");
  if (operation !== undefined && typeof status === "number") answered(operation, status);
}

/** Ends the record of a request by its answer's status: 400 and above is a failure. */
export function answered(operation: Operation, status: number): void {
  operation.end(status >= 400 ? String(status) : undefined, { [ATTR_HTTP_RESPONSE_STATUS_CODE]: status });
}

/**
 * Has the place of the agent in a request that may not be made. A request gets its connection from its agent, so
 * nothing leaves, and the error arrives as that of a failed connection would.
 */
class DenyingAgent extends http.Agent {
  readonly #error: AuditPolicyDeniedError;
  // Node refuses an agent for another protocol than the request's.
  readonly protocol: unknown;
  readonly defaultPort: unknown;

  constructor(error: AuditPolicyDeniedError, args: unknown[], scheme: Scheme) {
    super();
    this.#error = error;
    const options = optionsOf(args);
    this.protocol = protocolOf(options, scheme);
    this.defaultPort = property(options["agent"], "defaultPort") ?? (this.protocol === "https:" ? 443 : 80);
  }

  addRequest(request: unknown): void {
    const onSocket = property(request, "onSocket");
    if (isFunction(onSocket)) Reflect.apply(onSocket, request, [null, this.#error]);
  }
}

/** The arguments with another agent; what they say else stays. */
function withAgent(args: unknown[], agent: DenyingAgent): unknown[] {
  const [first, second, ...rest] = args;
  if (!isUrl(first)) return [{ ...toObject(first), agent }, second, ...rest];
  return isFunction(second) ? [first, { agent }, second, ...rest] : [first, { ...toObject(second), agent }, ...rest];
}

/** Where the request will go; undefined when Node will refuse the arguments. */
function describe(args: unknown[], scheme: Scheme): HttpDestination | undefined {
  let options: Readonly<Record<string, unknown>>;
  try {
    options = optionsOf(args);
  } catch {
    return undefined;
  }
  const { agent } = options;
  // As the ClientRequest constructor decides it.
  const ownConnection = (agent === undefined || agent === null) && isFunction(options["createConnection"]);
  const agentPort = isObject(agent) ? agent["defaultPort"] : ownConnection ? 80 : scheme === "https" ? 443 : 80;
  const port = options["port"] || options["defaultPort"] || agentPort || 80;
  const socketPath = options["socketPath"];
  return {
    method: textOf(options["method"]) || "GET",
    scheme: protocolOf(options, scheme) === "https:" ? "https" : "http",
    host: textOf(options["hostname"]) || textOf(options["host"]) || "localhost",
    port: typeof port === "number" ? port : textOf(port),
    path: textOf(options["path"]) || "/",
    socketPath: socketPath === undefined || socketPath === null || socketPath === "" ? undefined : textOf(socketPath),
  };
}

function protocolOf(options: Readonly<Record<string, unknown>>, scheme: Scheme): unknown {
  const ownDefault = scheme === "http" ? property(options["_defaultAgent"], "protocol") : undefined;
  return options["protocol"] || ownDefault || `${scheme}:`;
}

/** The options that Node makes of its arguments. Throws for a text that is no URL, as Node does. */
function optionsOf([first, second]: unknown[]): Readonly<Record<string, unknown>> {
  if (!isUrl(first)) return toObject(first);
  const url = typeof first === "string" ? new URL(first) : first;
  return { ...urlToHttpOptions(url), ...(isFunction(second) ? undefined : toObject(second)) };
}

/** A text, or a URL as Node tells it from options. */
function isUrl(value: unknown): value is string | URL {
  if (typeof value === "string") return true;
  return Boolean(
    property(value, "href") &&
    property(value, "protocol") &&
    property(value, "auth") === undefined &&
    property(value, "path") === undefined,
  );
}

function toObject(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) && !isFunction(value) ? value : {};
}
