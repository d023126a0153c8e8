import { fileURLToPath } from "node:url";

import type { AuditPolicyDeniedError } from "../../errors.ts";
import type { Addition } from "../../following.ts";
import { rethrowOverflow } from "../../intrinsics.ts";
import { type AnyFunction, isFunction, isObject, property } from "../../unknown.ts";
import { beginStart, type End, endStart, type Start, variable } from "./exec.ts";

/** The three functions that wait for a process to end. */
type SyncName = "spawnSync" | "execFileSync" | "execSync";

type Options = Readonly<Record<string, unknown>>;

/** A call as all three understand it. */
interface Call {
  readonly file: string;
  readonly args: readonly unknown[];
  readonly options: Options;
  /** The call's arguments, with other options. */
  readonly withOptions: (options: Options) => unknown[];
}

export function wrapSync(name: SyncName, original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const call = parse(name, args);
    // Node says what is wrong with it.
    if (call === undefined) return Reflect.apply(original, this, args);
    const { operation, denied, addition } = beginStart(startOf(call));
    if (denied !== undefined) return refuse(name, denied);
    const actual = call.withOptions({ ...call.options, env: environment(call.options, addition) });
    try {
      const result = Reflect.apply(original, this, actual);
      if (operation !== undefined) endStart(operation, name === "spawnSync" ? endOf(result, undefined) : SUCCESS);
      return result;
    } catch (error) {
      if (operation !== undefined) endStart(operation, endOf(error, error));
      throw error;
    }
  };
}

const SUCCESS: End = { pid: undefined, code: 0, signal: null };

function parse(name: SyncName, args: readonly unknown[]): Call | undefined {
  const [file, second, third] = args;
  if (typeof file !== "string" || file === "") return undefined;
  if (name === "execSync") {
    const options = { ...asOptions(second) };
    const shell = typeof options["shell"] === "string" ? options["shell"] : true;
    return { file, args: [], options: { ...options, shell }, withOptions: (actual) => [file, actual] };
  }
  const list = Array.isArray(second) ? second : undefined;
  const given = list === undefined && second !== undefined && second !== null ? second : third;
  if (given !== undefined && given !== null && (!isObject(given) || isFunction(given))) return undefined;
  return {
    file,
    args: list ?? [],
    options: asOptions(given),
    withOptions: (actual) => [file, list ?? [], actual],
  };
}

function asOptions(value: unknown): Options {
  return isObject(value) && !isFunction(value) ? value : {};
}

function startOf({ file, args, options }: Call): Start {
  const { shell } = options;
  const env = asOptions(options["env"] || process.env);
  const windows = process.platform === "win32";
  const defaultShell = windows ? (process.env["comspec"] ?? "cmd.exe") : "/bin/sh";
  return {
    file: shell ? (typeof shell === "string" ? shell : defaultShell) : file,
    argumentCount: shell ? 3 : args.length + 1,
    cwd: directory(options["cwd"]),
    get: (name) => variable(env, name),
  };
}

function directory(cwd: unknown): string | undefined {
  if (typeof cwd === "string") return cwd;
  try {
    return cwd instanceof URL ? fileURLToPath(cwd) : undefined;
  } catch (error) {
    rethrowOverflow(error);
    return undefined;
  }
}

function environment(options: Options, { variables }: Addition): Options {
  const env: Record<string, unknown> = {};
  const given = asOptions(options["env"] || process.env);
  // As Node does: inherited ones too.
  for (const name in given) env[name] = given[name];
  return { ...env, ...variables };
}

function endOf(result: unknown, thrown: unknown): End {
  const status = property(result, "status");
  const signal = property(result, "signal");
  const pid = property(result, "pid");
  const code = typeof status === "number" ? status : null;
  const ended = code !== null || typeof signal === "string";
  // Of a process that ran, a code (ETIMEDOUT, ENOBUFS) says why we ended it.
  const telling = !ended || typeof property(thrown, "code") === "string" ? thrown : undefined;
  const error = thrown === undefined ? property(result, "error") : telling;
  return {
    pid: typeof pid === "number" ? pid : undefined,
    code,
    signal: typeof signal === "string" ? signal : null,
    error: error ?? undefined,
  };
}

/** `spawnSync` returns what went wrong; the others throw it. */
function refuse(name: SyncName, denied: AuditPolicyDeniedError): unknown {
  if (name !== "spawnSync") throw denied;
  return { error: denied, status: null, signal: null, output: null, pid: 0, stdout: null, stderr: null };
}
