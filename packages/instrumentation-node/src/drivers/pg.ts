import { AsyncResource } from "node:async_hooks";

import type { Driver, Installed } from "../driver.ts";
import { onPackage } from "../module-hook.ts";
import { replace } from "../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { wrapCancel, wrapClientConnect, wrapPulse, wrapQuery } from "./pg-client.ts";
import { wrapBind, wrapParse, wrapText } from "./pg-connection.ts";
import { wrapError, wrapReady, wrapSubmit } from "./pg-query.ts";

type Wrap = (original: AnyFunction) => AnyFunction;

/** What is patched in the prototype of the class that a file of the package exports. */
const FILES: Readonly<Record<string, Readonly<Record<string, Wrap>>>> = {
  "pg/lib/query.js": { submit: wrapSubmit, handleReadyForQuery: wrapReady, handleError: wrapError },
  "pg/lib/client.js": {
    connect: wrapClientConnect,
    query: wrapQuery,
    _pulseQueryQueue: wrapPulse,
    cancel: wrapCancel,
  },
  "pg/lib/connection.js": { query: wrapText, parse: wrapParse, bind: wrapBind },
  "pg-pool": { connect: wrapPoolConnect },
};

/**
 * Statements by `pg`, at three places. `Client.prototype.query`, which every form of a call goes through, is where a
 * statement is judged and its record begins. The query object that it becomes hears of its end: that is where the
 * record ends, so that neither the caller's promise nor its callback needs a wrapper. And what is written to the
 * connection is compared with what was judged, so that nothing else is sent.
 *
 * The files of the package are patched when they are loaded, before a hook of the official instrumentation sees their
 * exports: it wraps us and not the other way round, which would double its spans.
 */
export const pgDriver: Driver = { name: "pg", install };

function install(): Installed {
  const undo: (() => void)[] = [];
  const unhook = Object.entries(FILES).map(([file, methods]) =>
    onPackage(file, (exports) => {
      for (const [name, wrap] of Object.entries(methods)) {
        const restore = replace(prototypeOf(exports), name, wrap);
        // Without one of them the others would see only a part.
        if (restore === undefined) throw new TypeError(`${file} has no ${name}`);
        undo.push(restore);
      }
    }),
  );
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
function wrapPoolConnect(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [callback, ...rest] = args;
    return Reflect.apply(original, this, isFunction(callback) ? [AsyncResource.bind(callback), ...rest] : args);
  };
}
