import { AsyncResource } from "node:async_hooks";

import { begin, count, observes, type Operation } from "../audit.ts";
import type { Driver, Installed } from "../driver.ts";
import type { AuditPolicyDeniedError } from "../errors.ts";
import { bindIdentity } from "../identity.ts";
import { onPackage } from "../module-hook.ts";
import { replace } from "../patch.ts";
import { classifySql } from "../sql/classify.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { errorAttributes, resultAttributes, statementAction, statementText } from "./pg-statement.ts";

/**
 * Statements by `pg`. All forms of a query (promise, callback, Query and other submittables, `pool.query`) go through
 * `Client.prototype.query` and are then an object that hears of its end: that object is where a record ends, so that
 * neither the caller's promise nor its callback needs a wrapper.
 *
 * The files of the package are patched when they are loaded, before a hook of the official instrumentation sees their
 * exports: it wraps us and not the other way round, which would double its spans.
 */
export const pgDriver: Driver = { name: "pg", install };

/** A query on its way. */
interface Sent {
  readonly operation: Operation | undefined;
  /** Calls a method under the identity of the query's caller: a connection's events come in the context that opened it. */
  readonly enter: (method: AnyFunction, self: unknown, args: unknown[]) => unknown;
}

const sent = new WeakMap<object, Sent>();
/** Where the constructor of Query leaves the query that it makes inside of `Client.prototype.query`. */
let made: { query: object | undefined } | undefined;

function install(): Installed {
  const undo: (() => void)[] = [];
  const keep = (restore: (() => void) | undefined): void => {
    if (restore !== undefined) undo.push(restore);
  };
  const unhook = [
    onPackage("pg/lib/query.js", (exports) => {
      const prototype = prototypeOf(exports);
      keep(watchConstructor(prototype));
      keep(replace(prototype, "handleReadyForQuery", wrapReady));
      keep(replace(prototype, "handleError", wrapError));
    }),
    onPackage("pg/lib/client.js", (exports) => {
      keep(replace(prototypeOf(exports), "query", wrapQuery));
    }),
    onPackage("pg-pool", (exports) => keep(replace(prototypeOf(exports), "connect", wrapConnect))),
  ];
  return {
    covered: ["pg"],
    uninstall: () => {
      for (const stop of unhook) stop();
      for (const restore of undo) restore();
    },
  };
}

function prototypeOf(exports: unknown): Record<PropertyKey, unknown> {
  const prototype = property(exports, "prototype");
  if (!isObject(prototype)) throw new TypeError("pg: not a class");
  return prototype;
}

/** Under a full pool a waiting callback is called by whoever releases a client: it must not act as them. */
function wrapConnect(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [callback, ...rest] = args;
    return Reflect.apply(original, this, isFunction(callback) ? [AsyncResource.bind(callback), ...rest] : args);
  };
}

function wrapQuery(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [config] = args;
    if (!isObject(this) || config === undefined || config === null || !observes())
      return Reflect.apply(original, this, args);
    const classification = classifySql(statementText(this, config));
    if (classification.ignorable) {
      count("sql");
      return send(this, original, args, undefined);
    }
    const operation = begin(statementAction(this, classification));
    if (operation?.denied !== undefined) return refuse(this, args, operation.denied);
    try {
      return send(this, original, args, operation);
    } catch (error) {
      operation?.end(error);
      throw error;
    }
  };
}

function send(client: object, original: AnyFunction, args: unknown[], operation: Operation | undefined): unknown {
  const [config] = args;
  const entry: Sent = { operation, enter: bindIdentity((method, self, actual) => Reflect.apply(method, self, actual)) };
  if (isSubmittable(config)) {
    follow(config, entry);
    return Reflect.apply(original, client, args);
  }
  const before = made;
  const slot: typeof made = { query: undefined };
  made = slot;
  let result: unknown;
  try {
    result = Reflect.apply(original, client, args);
  } finally {
    made = before;
  }
  if (slot.query !== undefined) sent.set(slot.query, entry);
  else operation?.end();
  return result;
}

function isSubmittable(value: unknown): value is Record<PropertyKey, unknown> {
  return isObject(value) && isFunction(value["submit"]);
}

/** A query object of the application: pg's own Query, a cursor, a query stream, a COPY. */
function follow(query: Record<PropertyKey, unknown>, entry: Sent): void {
  const again = sent.has(query);
  sent.set(query, entry);
  if (again) return;
  replace(query, "handleDataRow", wrapRow);
  // On the object itself: a query stream has these as properties of its own, bound to its cursor.
  replace(query, "handleReadyForQuery", wrapReady);
  replace(query, "handleError", wrapError);
}

/**
 * The constructor of Query assigns `callback`, whatever its value: a setter on the prototype sees the object, and makes
 * of it the plain property that it would have been.
 */
function watchConstructor(prototype: Record<PropertyKey, unknown>): (() => void) | undefined {
  if (Object.hasOwn(prototype, "callback")) return undefined;
  Object.defineProperty(prototype, "callback", {
    configurable: true,
    enumerable: false,
    get: () => undefined,
    set(this: object, value: unknown) {
      Object.defineProperty(this, "callback", { value, writable: true, enumerable: true, configurable: true });
      if (made !== undefined) made.query ??= this;
    },
  });
  return () => Reflect.deleteProperty(prototype, "callback");
}

function wrapReady(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const entry = isObject(this) ? sent.get(this) : undefined;
    if (entry === undefined) return Reflect.apply(original, this, args);
    // A row that could not be parsed here: pg hands it out as the query's error.
    const error = property(this, "_canceledDueToError") || undefined;
    entry.operation?.end(error, resultAttributes(this));
    return entry.enter(original, this, args);
  };
}

function wrapError(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const entry = isObject(this) ? sent.get(this) : undefined;
    if (entry === undefined) return Reflect.apply(original, this, args);
    entry.operation?.end(args[0] ?? "_OTHER", errorAttributes(args[0]));
    return entry.enter(original, this, args);
  };
}

function wrapRow(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const entry = isObject(this) ? sent.get(this) : undefined;
    return entry === undefined ? Reflect.apply(original, this, args) : entry.enter(original, this, args);
  };
}

/** Hands the denial to the caller as pg hands out an error of a query that it did not send. */
function refuse(client: Record<PropertyKey, unknown>, args: unknown[], denied: AuditPolicyDeniedError): unknown {
  const [config, values, callback] = args;
  if (isSubmittable(config)) {
    config["callback"] ||= isFunction(values) ? values : callback;
    const { handleError } = config;
    if (isFunction(handleError)) {
      process.nextTick(() => Reflect.apply(handleError, config, [denied, client["connection"]]));
    }
    return config;
  }
  const given = [callback, values, property(config, "callback")].find(isFunction);
  if (given !== undefined) {
    process.nextTick(given, denied);
    return undefined;
  }
  const own = client["_Promise"];
  const executor = (_: unknown, reject: (error: unknown) => void): void => reject(denied);
  return isFunction(own) ? Reflect.construct(own, [executor]) : Promise.reject(denied);
}
