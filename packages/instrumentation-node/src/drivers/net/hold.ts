import dns from "node:dns";
import type { Socket } from "node:net";

import type { Operation } from "../../audit.ts";
import { type AnyFunction, isFunction, isObject } from "../../unknown.ts";

type Options = Readonly<Record<string, unknown>>;

/** The options that `connect` makes of its arguments. */
export function optionsOf(args: readonly unknown[]): Options {
  const [first, second] = args;
  // Normalised already, by `net.connect` and `tls.connect`.
  if (Array.isArray(first)) return optionsOf(first);
  if (isObject(first) && !isFunction(first)) return first;
  if (typeof first === "string" && !(Number(first) >= 0)) return { path: first };
  return typeof first === "number" || typeof first === "string" ? { port: first, host: second } : {};
}

function callbackOf(args: readonly unknown[]): unknown {
  return (
    (Array.isArray(args[0]) ? callbackOf(args[0]) : undefined) ?? args.findLast((argument) => isFunction(argument))
  );
}

/** Not an address, so that Node asks for one. Nobody can have this name (RFC 2606). */
const HELD = "held.otel-audit.invalid";

type Connect = (socket: Socket, original: AnyFunction, args: unknown[], operation: Operation) => unknown;

/**
 * A connection that may not be made, or not yet. The socket is as it is while its host is looked up, and then gets an
 * address or the denial: whatever is built on it (TLS, HTTP/2) takes that as it takes any host that is not found.
 */
export function hold(
  socket: Socket,
  original: AnyFunction,
  args: unknown[],
  operation: Operation,
  connect: Connect,
): unknown {
  const options = optionsOf(args);
  if (operation.decided !== undefined && options["path"]) return holdPath(socket, original, args, operation, connect);
  const lookup = (_name: unknown, asked: unknown, done: AnyFunction): void => {
    if (operation.decided === undefined) process.nextTick(done, operation.denied);
    else void operation.decided.then(() => answer(options, asked, done, operation.denied));
  };
  const held = { ...options, path: undefined, port: options["port"] ?? 1, host: HELD, lookup };
  const callback = callbackOf(args);
  const actual = isFunction(callback) ? [held, callback] : [held];
  return operation.denied === undefined
    ? connect(socket, original, actual, operation)
    : Reflect.apply(original, socket, actual);
}

/** Looks up what the application asked for. */
function answer(options: Options, asked: unknown, done: AnyFunction, denied: Error | undefined): void {
  const { host, lookup } = options;
  if (denied !== undefined) Reflect.apply(done, undefined, [denied]);
  else Reflect.apply(isFunction(lookup) ? lookup : dns.lookup, undefined, [host || "localhost", asked, done]);
}

/** A unix socket has no host to wait for. */
function holdPath(
  socket: Socket,
  original: AnyFunction,
  args: unknown[],
  operation: Operation,
  connect: Connect,
): Socket {
  // Writes wait meanwhile. Read-only by its type, a plain property in Node.
  Object.assign(socket, { connecting: true });
  const go = (): unknown => {
    if (operation.denied !== undefined) return socket.destroy(operation.denied);
    if (socket.destroyed) return operation.end("ABORT_ERR");
    return connect(socket, original, args, operation);
  };
  void operation.decided?.then(go);
  return socket;
}
