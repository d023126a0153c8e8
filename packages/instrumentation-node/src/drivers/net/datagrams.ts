import dgram from "node:dgram";

import { begin, observes, type Operation } from "../../audit.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isFunction, isObject } from "../../unknown.ts";
import { connectionAction } from "./action.ts";
import { type Address, addressOf } from "./expected.ts";

/** Addresses of one socket that have a record; beyond this many every datagram to a new one has its own. */
const MAX_KNOWN = 4096;
const known = new WeakMap<object, Set<string>>();

/** UDP has no connections: there is one record for each socket and address that it sends to. */
export function watchDatagrams(): readonly ((() => void) | undefined)[] {
  return [
    replace(dgram.Socket.prototype, "connect", (original) => wrap(original, connectAddress)),
    replace(dgram.Socket.prototype, "send", (original) => wrap(original, sendAddress)),
  ];
}

type FindAddress = (socket: object, args: readonly unknown[]) => Address | undefined;

/** `connect(port, address?, callback?)` */
function connectAddress(_: object, [port, host]: readonly unknown[]): Address {
  return addressOf(host, port, undefined);
}

/** `send(message, port, address?)`, `send(message, offset, length, port, address?)`; without a port on a connected socket. */
function sendAddress(_: object, args: readonly unknown[]): Address | undefined {
  const [, first, second, port, host] = args;
  const hasRange = port !== undefined && port !== null && !isFunction(port) && typeof second !== "string";
  const [actualPort, actualHost] = hasRange ? [port, host] : [first, second];
  if (actualPort === undefined || actualPort === null || isFunction(actualPort)) return undefined;
  return addressOf(actualHost, actualPort, undefined);
}

function wrap(original: AnyFunction, find: FindAddress): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    if (!isObject(this) || !observes()) return Reflect.apply(original, this, args);
    const address = find(this, args);
    // On a connected socket, which has its record.
    if (address === undefined) return Reflect.apply(original, this, args);
    const key = `${address.host ?? ""}:${String(address.port)}`;
    const addresses = known.get(this) ?? new Set<string>();
    if (addresses.has(key)) return Reflect.apply(original, this, args);
    const operation = begin(connectionAction("udp", address));
    if (operation?.denied !== undefined) return refuse(this, args, operation.denied);
    const result = run(original, this, args, operation);
    if (operation !== undefined && addresses.size < MAX_KNOWN) known.set(this, addresses.add(key));
    return result;
  };
}

function run(original: AnyFunction, self: unknown, args: unknown[], operation: Operation | undefined): unknown {
  try {
    const result = Reflect.apply(original, self, args);
    operation?.end();
    return result;
  } catch (error) {
    operation?.end(error);
    throw error;
  }
}

/** As an address that is not found: to the callback, else as an event. */
function refuse(socket: Record<PropertyKey, unknown>, args: readonly unknown[], denied: unknown): undefined {
  const callback = args.findLast((argument) => isFunction(argument));
  const { emit } = socket;
  process.nextTick(() => {
    if (isFunction(callback)) Reflect.apply(callback, socket, [denied, 0]);
    else if (isFunction(emit)) Reflect.apply(emit, socket, ["error", denied]);
  });
  return undefined;
}
