import type { AnyFunction } from "../../unknown.ts";
import { isObject } from "../../unknown.ts";
import { beginStart, variable } from "./exec.ts";

/**
 * `process.execve` puts another program in the place of this one: nobody is left to hear of an end, so the record is
 * complete before. Nothing of ours waits in memory: records are in the spool.
 */
export function wrapExecve(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...call: unknown[]): unknown {
    const [file, args, env = process.env] = call;
    if (typeof file !== "string" || !isObject(env)) return Reflect.apply(original, this, call);
    const { operation, denied, addition } = beginStart({
      file,
      argumentCount: Array.isArray(args) ? args.length : 0,
      cwd: undefined,
      get: (name) => variable(env, name),
    });
    if (denied !== undefined) throw denied;
    operation?.end();
    const variables = Object.entries({ ...env, ...addition.variables }).filter(([, value]) => value !== undefined);
    return Reflect.apply(original, this, [file, args ?? [], Object.fromEntries(variables)]);
  };
}
