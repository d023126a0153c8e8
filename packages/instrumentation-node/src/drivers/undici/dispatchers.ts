import { isObject, property } from "../../unknown.ts";
import { originOf } from "../http/target.ts";

/**
 * What can be known about a dispatcher of any copy of undici. Its own data is behind symbols of that copy, which keep
 * their descriptions from version to version; everything here is remembered for each dispatcher.
 */

/** Where a client connects to, whatever a request's options say. */
export interface Server {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: string;
}

/** What a request takes on its way through a dispatcher. */
export interface Way {
  /** The unix socket that is used for all hosts. */
  readonly socketPath: string | undefined;
  /** The proxy, `http://host:port/`. */
  readonly proxy: string | undefined;
}

const DIRECT: Way = { socketPath: undefined, proxy: undefined };

/** Prototypes whose `dispatch` makes the request itself (true) or hands it on to another dispatcher. */
const makers = new WeakMap<object, boolean>();
const servers = new WeakMap<object, Server>();
const ways = new WeakMap<object, Way>();
/** Clients that proxy agents open their tunnels with. */
const diggers = new WeakSet<object>();

/** Also the clients of Node's own undici, whose class cannot be reached beforehand. */
export function isMaker(dispatcher: object): boolean {
  const prototype = prototypeOf(dispatcher);
  if (prototype === undefined) return false;
  let known = makers.get(prototype);
  if (known === undefined) {
    known = property(prototype["constructor"], "name") === "Client" || isMaker(prototype);
    makers.set(prototype, known);
  }
  return known;
}

export function markMaker(prototype: object): void {
  makers.set(prototype, true);
}

export function serverOf(client: object): Server | undefined {
  let server = servers.get(client);
  if (server === undefined) {
    server = parseServer(property(ownSymbol(client, "url"), "origin"));
    if (server !== undefined) servers.set(client, server);
  }
  return server;
}

/** From an origin as text or URL. */
export function parseServer(origin: unknown): Server | undefined {
  try {
    const url = new URL(typeof origin === "string" || origin instanceof URL ? origin : "");
    return { scheme: url.protocol === "https:" ? "https" : "http", host: url.hostname, port: url.port };
  } catch {
    return undefined;
  }
}

export function wayThrough(dispatcher: object): Way {
  let way = ways.get(dispatcher);
  if (way === undefined) {
    const digger = ownSymbol(dispatcher, "proxy client");
    if (isObject(digger)) diggers.add(digger);
    way = {
      socketPath: socketPathIn(ownSymbol(dispatcher, "options")),
      proxy: proxyId(property(ownSymbol(dispatcher, "proxy agent options"), "uri")),
    };
    if (way.socketPath === undefined && way.proxy === undefined) way = DIRECT;
    ways.set(dispatcher, way);
  }
  return way;
}

function proxyId(uri: unknown): string | undefined {
  const proxy = parseServer(uri);
  if (proxy === undefined) return undefined;
  const { id, authority } = originOf(proxy.scheme, proxy.host, proxy.port);
  const socks = /^socks5?:/.exec(String(uri))?.[0];
  return socks === undefined ? `${id}/` : `${socks}//${authority}/`;
}

/** Keeps what a Client or Pool was constructed with: it does not itself. */
export function rememberOptions(dispatcher: object, options: unknown): void {
  const socketPath = socketPathIn(options);
  if (socketPath !== undefined) ways.set(dispatcher, { socketPath, proxy: undefined });
}

function socketPathIn(options: unknown): string | undefined {
  const path = property(property(options, "connect"), "socketPath") ?? property(options, "socketPath");
  return typeof path === "string" ? path : undefined;
}

/** Whether a request is part of another one: the tunnel that a proxy agent opens for it. */
export function isTunnel(dispatcher: object, options: unknown): boolean {
  return diggers.has(dispatcher) && property(options, "method") === "CONNECT";
}

export function prototypeOf(value: object): Record<PropertyKey, unknown> | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  return isObject(prototype) ? prototype : undefined;
}

function ownSymbol(value: object, description: string): unknown {
  const symbol = Object.getOwnPropertySymbols(value).find((candidate) => candidate.description === description);
  return symbol === undefined ? undefined : property(value, symbol);
}
