import * as module from "node:module";
import { fileURLToPath } from "node:url";
import workerThreads from "node:worker_threads";

import { count } from "../../audit.ts";
import { noticeBypass } from "../../bypass.ts";
import type { Driver, Installed } from "../../driver.ts";
import { startingThread } from "../../environment.ts";
import { namesRegister, REGISTER, REGISTER_SYNC, threadEnvironment } from "../../following.ts";
import { earlierCopies } from "../../loader-copies.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";

/**
 * Threads. To start one is no effect; what it does is, so the audit follows: with the configuration of this thread, and
 * as whoever started it.
 */
export const workerThreadsDriver: Driver = { name: "worker_threads", install };

function install(): Installed {
  const undo = [
    ...[workerThreads, ...earlierCopies("worker_threads")].map((holder) => replace(holder, "Worker", wrapWorker)),
    // `worker.constructor === Worker` holds as before.
    replace(workerThreads.Worker.prototype, "constructor", (original) => {
      const wrapped: unknown = workerThreads.Worker;
      return isFunction(wrapped) ? wrapped : original;
    }),
  ];
  module.syncBuiltinESMExports();
  return {
    covered: ["worker_threads"],
    uninstall: () => {
      for (const restore of undo) restore?.();
      module.syncBuiltinESMExports();
    },
  };
}

function wrapWorker(original: AnyFunction): AnyFunction {
  return new Proxy(original, {
    construct: (target, args: unknown[], newTarget): object => {
      const environment = threadEnvironment();
      const construct = (actual: unknown[]): object => {
        const worker: object = Reflect.construct(target, actual, newTarget);
        return worker;
      };
      if (environment === undefined) return construct(args);
      count("worker_thread");
      return startingThread(environment, () => startAudited(args, construct));
    },
  });
}

function startAudited(args: unknown[], construct: (args: unknown[]) => object): object {
  const [filename, options] = args;
  if (options !== undefined && !isObject(options)) return construct(args);
  const flags = flagsFor(filename, options);
  if (flags === undefined) return construct(args);
  try {
    return construct([filename, { ...options, execArgv: flags }]);
  } catch (error) {
    const rest = acceptable(flags, error);
    // The flags of the application itself: Node says what is wrong with them.
    if (rest === undefined || Array.isArray(property(options, "execArgv"))) return startUnaudited(args, construct);
    return construct([filename, { ...options, execArgv: rest }]);
  }
}

/** `execArgv` with the register; undefined where it comes by itself. */
function flagsFor(filename: unknown, options: unknown): readonly unknown[] | undefined {
  const given = property(options, "execArgv");
  if (given !== undefined && given !== null && !Array.isArray(given)) return undefined;
  const flags: readonly unknown[] = given ?? process.execArgv;
  // Node runs `--import` for files only.
  if (property(options, "eval") || (filename instanceof URL && filename.protocol === "data:")) {
    return [`--require=${fileURLToPath(REGISTER_SYNC)}`, ...flags];
  }
  return namesRegister(flags) ? undefined : [`--import=${REGISTER}`, ...flags];
}

/**
 * A thread inherits this process's flags, but for some it may not be told them again. Those are of the whole process and
 * hold for it all the same.
 */
function acceptable(flags: readonly unknown[], error: unknown): readonly unknown[] | undefined {
  if (property(error, "code") !== "ERR_WORKER_INVALID_EXEC_ARGV") return undefined;
  const refused = String(property(error, "message")).split(": ").at(-1)?.split(", ") ?? [];
  return flags.filter((flag) => typeof flag === "string" && !refused.includes(flag));
}

function startUnaudited(args: unknown[], construct: (args: unknown[]) => object): object {
  const worker = construct(args);
  noticeBypass("worker_unaudited", "a thread whose execArgv cannot be added to");
  return worker;
}
