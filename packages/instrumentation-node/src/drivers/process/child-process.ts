import childProcess from "node:child_process";
import { randomUUID } from "node:crypto";
import * as module from "node:module";
import { getSystemErrorName } from "node:util";

import type { Operation } from "../../audit.ts";
import { noticeBypass } from "../../bypass.ts";
import type { Driver, Installed } from "../../driver.ts";
import type { AuditPolicyDeniedError } from "../../errors.ts";
import type { Addition } from "../../following.ts";
import { earlierCopies } from "../../loader-copies.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";
import { wrapSync } from "./child-process-sync.ts";
import { beginStart, endStart } from "./exec.ts";
import { wrapExecve } from "./execve.ts";

/**
 * Processes. Everything asynchronous (spawn, exec, execFile, fork, their promises, cluster) is a ChildProcess whose
 * `spawn` is called with what the system will be told: one patch, which also sees functions that were taken out of the
 * module before. A record ends when the process does.
 */
export const childProcessDriver: Driver = { name: "child_process", install };

function install(): Installed {
  const handle: unknown = Object.getPrototypeOf(property(new childProcess.ChildProcess(), "_handle") ?? null);
  const undo = [
    replace(childProcess.ChildProcess.prototype, "spawn", wrapSpawn),
    ...(isObject(handle) ? [replace(handle, "spawn", wrapHandle)] : []),
    ...[childProcess, ...earlierCopies("child_process")].flatMap((holder) =>
      (["spawnSync", "execFileSync", "execSync"] as const).map((name) =>
        replace(holder, name, (original) => wrapSync(name, original)),
      ),
    ),
    replace(process, "execve", wrapExecve),
  ];
  module.syncBuiltinESMExports();
  return {
    covered: ["child_process"],
    uninstall: () => {
      for (const restore of undo) restore?.();
      module.syncBuiltinESMExports();
    },
  };
}

/** How many calls of `spawn` are on the stack. */
let depth = 0;

function spawn(original: AnyFunction, child: unknown, options: unknown): unknown {
  depth++;
  try {
    return Reflect.apply(original, child, [options]);
  } finally {
    depth--;
  }
}

/** What `spawn` calls in the end. Everybody can reach it, at `child._handle`. */
function wrapHandle(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const denied = depth > 0 ? undefined : noticeBypass("process_binding", "spawn of the handle of a ChildProcess");
    if (denied !== undefined) throw denied;
    return Reflect.apply(original, this, args);
  };
}

function wrapSpawn(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [options] = args;
    const handle = property(this, "_handle");
    const file = property(options, "file");
    if (!isObject(options) || !isObject(handle) || typeof file !== "string") return Reflect.apply(original, this, args);
    const pairs = Array.isArray(options["envPairs"]) ? options["envPairs"].map(String) : [];
    const { operation, denied, addition } = beginStart({
      file,
      argumentCount: Array.isArray(options["args"]) ? options["args"].length : 0,
      cwd: textOf(options["cwd"]),
      get: (name) => pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1),
    });
    if (denied !== undefined) {
      refuse(this, handle, denied);
      return spawn(original, this, options);
    }
    if (operation !== undefined) watch(this, handle, operation);
    try {
      return spawn(original, this, { ...options, envPairs: extend(pairs, addition) });
    } catch (error) {
      operation?.end(error);
      throw error;
    }
  };
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return Buffer.isBuffer(value) ? value.toString() : undefined;
}

function extend(pairs: readonly string[], { variables }: Addition): string[] {
  const kept = pairs.filter((pair) => !Object.hasOwn(variables, pair.slice(0, pair.indexOf("="))));
  for (const [name, value] of Object.entries(variables)) if (value !== undefined) kept.push(`${name}=${value}`);
  return kept;
}

/** Ends the record before the application hears of the end. A listener of ours would be one too many. */
function watch(child: unknown, handle: Record<PropertyKey, unknown>, operation: Operation): void {
  const { onexit } = handle;
  if (!isFunction(onexit)) return;
  handle["onexit"] = function (this: unknown, code: unknown, signal: unknown, ...rest: unknown[]): unknown {
    const status = typeof code === "number" ? code : null;
    const pid = property(child, "pid");
    endStart(operation, {
      pid: typeof pid === "number" ? pid : undefined,
      code: status !== null && status >= 0 && !signal ? status : null,
      signal: typeof signal === "string" && signal !== "" ? signal : null,
      error: status !== null && status < 0 ? getSystemErrorName(status) : undefined,
    });
    return Reflect.apply(onexit, this, [code, signal, ...rest]);
  };
}

/**
 * The process does not start. The system is asked for a program that is not there, under a name that nobody could have
 * made one of: pipes and events are then those of any process that cannot start, but for the error.
 */
function refuse(child: unknown, handle: Record<PropertyKey, unknown>, denied: AuditPolicyDeniedError): void {
  const { onexit, spawn } = handle;
  const file = `/.otel-audit-denied-${randomUUID()}`;
  handle["spawn"] = function (this: unknown, ...args: unknown[]): unknown {
    // One object (Node 20), or file, args, cwd, envPairs, stdio, flags, uid, gid: of these only the pipes matter now.
    const [first, , , , stdio, flags] = args;
    const nothing = isObject(first)
      ? [{ ...first, file, args: [file], cwd: undefined, envPairs: [], uid: undefined, gid: undefined }]
      : [file, [file], undefined, [], stdio, flags, undefined, undefined];
    return isFunction(spawn) && Reflect.apply(spawn, this, nothing);
  };
  if (!isFunction(onexit) || !isObject(child)) return;
  handle["onexit"] = function (this: unknown, ...args: unknown[]): unknown {
    const { emit } = child;
    const own = Object.hasOwn(child, "emit");
    child["emit"] = function (this: unknown, event: unknown, ...rest: unknown[]): unknown {
      // For the one event: listeners emit as ever.
      if (own) child["emit"] = emit;
      else delete child["emit"];
      return isFunction(emit) && Reflect.apply(emit, this, event === "error" ? [event, denied] : [event, ...rest]);
    };
    return Reflect.apply(onexit, this, args);
  };
}
