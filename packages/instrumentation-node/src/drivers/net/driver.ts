import * as diagnostics from "node:diagnostics_channel";
import { EventEmitter } from "node:events";
import net from "node:net";

import { ATTR_NETWORK_PEER_ADDRESS, ATTR_NETWORK_PEER_PORT } from "@otel-audit/semantic-conventions";

import { begin, observes, type Operation } from "../../audit.ts";
import { http } from "../../builtins.ts";
import type { Driver, Installed } from "../../driver.ts";
import { onPackage } from "../../module-hook.ts";
import { replace } from "../../patch.ts";
import { type AnyFunction, isObject, property } from "../../unknown.ts";
import { requestAddress } from "../http/driver.ts";
import { connectionAction } from "./action.ts";
import { watchDatagrams } from "./datagrams.ts";
import { addressOf, type Address, announce, expecting, isExpected } from "./expected.ts";
import { hold, optionsOf } from "./hold.ts";

/**
 * The witness. Every connection of a process is a Socket whose `connect` is called: those of covered drivers have
 * records of their own; all others become `connection.open`, with their address and nothing of what goes through them.
 */
export const netDriver: Driver = { name: "net", install };

const BEFORE_CONNECT = "undici:client:beforeConnect";

function install(): Installed {
  const undo = [
    replace(net.Socket.prototype, "connect", wrapConnect),
    replace(http.Agent.prototype, "createSocket", wrapCreateSocket),
    ...watchDatagrams(),
  ];
  const unhook = onPackage("pg/lib/client.js", (exports) => {
    const prototype = property(exports, "prototype");
    if (isObject(prototype))
      undo.push(...["_connect", "cancel"].map((name) => replace(prototype, name, wrapPgConnect)));
  });
  diagnostics.subscribe(BEFORE_CONNECT, onBeforeConnect);
  return {
    covered: ["net", "tls", "dgram"],
    uninstall: () => {
      unhook();
      diagnostics.unsubscribe(BEFORE_CONNECT, onBeforeConnect);
      for (const restore of undo) restore?.();
    },
  };
}

/** An agent makes a connection for a request, which is judged already: at once, or when another one is closed. */
function wrapCreateSocket(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const address = requestAddress(args[0]);
    if (address === undefined) return Reflect.apply(original, this, args);
    return expecting([address], () => Reflect.apply(original, this, args));
  };
}

function wrapPgConnect(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const host = property(this, "host");
    const port = property(this, "port");
    const isPath = typeof host === "string" && host.startsWith("/");
    const address = isPath
      ? addressOf(undefined, undefined, `${host}/.s.PGSQL.${String(port)}`)
      : addressOf(host, port, undefined);
    return expecting([address], () => Reflect.apply(original, this, args));
  };
}

/** Every copy of undici says this, and calls its connector next. The requests are announced the same way. */
function onBeforeConnect(message: unknown): void {
  const params = property(message, "connectParams");
  const port = property(params, "port") || (property(params, "protocol") === "https:" ? 443 : 80);
  announce(addressOf(property(params, "hostname"), port, undefined));
}

/** Where `connect` will connect to; undefined for what it refuses. */
function targetOf(args: readonly unknown[]): Address | undefined {
  const { host, port, path } = optionsOf(args);
  if (path !== undefined && path !== null && path !== "") return addressOf(undefined, undefined, path);
  return port === undefined || port === null ? undefined : addressOf(host, port, undefined);
}

function wrapConnect(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    if (!(this instanceof net.Socket) || !observes()) return Reflect.apply(original, this, args);
    const address = targetOf(args);
    if (address === undefined || isExpected(address)) return Reflect.apply(original, this, args);
    const operation = begin(connectionAction("tcp", address), true);
    if (operation === undefined) return Reflect.apply(original, this, args);
    if (operation.denied !== undefined || operation.decided !== undefined)
      return hold(this, original, args, operation, connect);
    return connect(this, original, args, operation);
  };
}

function connect(socket: net.Socket, original: AnyFunction, args: unknown[], operation: Operation): unknown {
  const done = (): void => {
    socket.off("connect", onConnect).off("close", onClose);
    EventEmitter.prototype.off.call(socket, EventEmitter.errorMonitor, onError);
  };
  const onConnect = (): void => {
    done();
    const { remoteAddress, remotePort } = socket;
    operation.end(undefined, {
      ...(remoteAddress === undefined ? undefined : { [ATTR_NETWORK_PEER_ADDRESS]: remoteAddress }),
      ...(remotePort === undefined ? undefined : { [ATTR_NETWORK_PEER_PORT]: remotePort }),
    });
  };
  const onError = (error: unknown): void => {
    done();
    operation.end(error ?? "_OTHER");
  };
  const onClose = (): void => onError("ABORT_ERR");
  socket.on("connect", onConnect).on("close", onClose);
  // Not `error`: a listener there would keep an error that the application does not handle from ending it.
  EventEmitter.prototype.on.call(socket, EventEmitter.errorMonitor, onError);
  try {
    return Reflect.apply(original, socket, args);
  } catch (error) {
    onError(error);
    throw error;
  }
}
