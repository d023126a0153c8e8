import { createRequire } from "node:module";
import { types } from "node:util";

import { EVENT_FILE_READ, EVENT_FILE_WRITE } from "@otel-audit/semantic-conventions";

import { begin, type ObservedAction, observes, type Operation } from "../../audit.ts";
import { rethrowOverflow } from "../../intrinsics.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";
import { type FileName, fileName, type Meaning } from "./paths.ts";
import { stableOptions, stablePath } from "./stable.ts";
import type { Row } from "./table.ts";
import { WRAPS } from "./wrap.ts";

const READ: Meaning = { event: EVENT_FILE_READ, action: "READ" };
const WRITE: Meaning = { event: EVENT_FILE_WRITE, action: "WRITE" };
const BACKUP: Row = { name: "backup", paths: 0, describe: ([, path]) => databaseFile(path)?.action(WRITE) };

/** A database of `node:sqlite` is one record when it is opened; its statements are not seen. */
export function patchSqlite(): ((() => void) | undefined)[] {
  const { sqlite, warn } = loadSqlite();
  if (sqlite === undefined) return [];
  const prototype = property(sqlite["DatabaseSync"], "prototype");
  let wrapper: AnyFunction | undefined;
  const wrap = (original: AnyFunction): AnyFunction => (wrapper ??= wrapDatabase(original, warn));
  return [
    replace(sqlite, "DatabaseSync", wrap),
    // `new db.constructor(path)` opens one, too.
    isObject(prototype) ? replace(prototype, "constructor", wrap) : undefined,
    replace(sqlite, "backup", (original) => WRAPS.promise(BACKUP, original)),
  ];
}

/** Undefined in versions of Node, and with flags, that have none. */
function loadSqlite(): { sqlite?: Record<PropertyKey, unknown>; warn: () => void } {
  // The module says that it is experimental when it is loaded: this is said when the application uses it.
  const said: unknown[][] = [];
  const restore = replace(
    process,
    "emitWarning",
    () =>
      (...args) =>
        void said.push(args),
  );
  try {
    const sqlite: unknown = createRequire(import.meta.url)("node:sqlite");
    const warn = (): void => {
      const emit: unknown = Reflect.get(process, "emitWarning");
      for (const args of said.splice(0)) if (isFunction(emit)) Reflect.apply(emit, process, args);
    };
    return isObject(sqlite) ? { sqlite, warn } : { warn };
  } catch {
    return { warn: () => {} };
  } finally {
    restore?.();
  }
}

function wrapDatabase(original: AnyFunction, warn: () => void): AnyFunction {
  return new Proxy(original, {
    construct: (target, args: unknown[], newTarget) => {
      warn();
      if (!observes()) return construct(target, args, newTarget);
      const operation = open(args);
      if (operation?.denied !== undefined) throw operation.denied;
      try {
        const database = construct(target, args, newTarget);
        operation?.end();
        return database;
      } catch (error) {
        operation?.end(error ?? "_OTHER");
        throw error;
      }
    },
  });
}

function construct(target: AnyFunction, args: unknown[], newTarget: Function): object {
  const made: unknown = Reflect.construct(target, args, newTarget);
  return isObject(made) ? made : {};
}

function open(args: unknown[]): Operation | undefined {
  const action = describe(args);
  return action && begin(action);
}

function describe(args: unknown[]): ObservedAction | undefined {
  try {
    const [path] = args;
    if (args.length > 0) args[0] = stablePath(path);
    if (args.length > 1) args[1] = stableOptions(args[1]);
    return databaseFile(args[0])?.action(property(args[1], "readOnly") === true ? READ : WRITE);
  } catch (error) {
    rethrowOverflow(error);
    return undefined;
  }
}

/** SQLite takes URIs, with its own idea of them: `file:data.db?mode=ro` is relative. */
const URI = /^file:(?:\/\/(?:localhost)?(?=\/))?([^?#]*)/;

function databaseFile(path: unknown): FileName | undefined {
  const given = types.isUint8Array(path) ? Buffer.from(path).toString() : (property(path, "href") ?? path);
  if (typeof given !== "string" || given === "" || given === ":memory:") return undefined;
  const uri = URI.exec(given)?.[1];
  if (uri === undefined) return fileName(given);
  return uri === "" || uri === ":memory:" || /[?&]mode=memory(?:&|$)/.test(given) ? undefined : fileName(decode(uri));
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
