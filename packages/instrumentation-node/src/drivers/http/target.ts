import { isIP } from "node:net";

import {
  ATTR_AUDIT_HTTP_HOST,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_NETWORK_TRANSPORT,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_URL_FULL,
  ATTR_URL_SCHEME,
  type AuditAction,
  EVENT_HTTP_REQUEST,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction, Target } from "../../audit.ts";
import { Memo } from "../../memo.ts";
import { isFunction, property } from "../../unknown.ts";

/** Where a request goes and what it asks for, as the client library was told. */
export interface HttpDestination {
  /** In the case it was given in. */
  readonly method: string;
  readonly scheme: "http" | "https";
  /** Name or address, without port; IPv6 with or without brackets. */
  readonly host: string;
  /** Undefined: the scheme's default. */
  readonly port: number | string | undefined;
  /** The request target: a path with query, an absolute URL (to a proxy), or `host:port` (CONNECT). */
  readonly path: string;
  /** Path of the unix socket that is used instead of host and port. */
  readonly socketPath?: string | undefined;
  /** The proxy that it is sent through (`http://host:port`), where the path does not show that. */
  readonly proxy?: string | undefined;
  /** The Host header. */
  readonly hostHeader?: string | undefined;
}

/** RFC 9110 9.3, RFC 5789, RFC 4918 9, RFC 9110 (QUERY draft); what is not here may do anything and is a WRITE. */
const ACTIONS: Readonly<Record<string, AuditAction>> = {
  GET: "READ",
  HEAD: "READ",
  OPTIONS: "READ",
  TRACE: "READ",
  QUERY: "READ",
  PROPFIND: "READ",
  REPORT: "READ",
  SEARCH: "READ",
  PUT: "UPDATE",
  PATCH: "UPDATE",
  PROPPATCH: "UPDATE",
  MOVE: "UPDATE",
  LOCK: "UPDATE",
  UNLOCK: "UPDATE",
  MKCOL: "CREATE",
  MKCALENDAR: "CREATE",
  DELETE: "DELETE",
};

const DEFAULT_PORTS = { http: 80, https: 443 } as const;

/** More actions than these, and of longer paths, are not remembered. */
const MAX_ACTIONS = 2000;
const MAX_PATH = 512;
let known = 0;

/** The audit action of one HTTP request; of most the same object again, because an agent asks for the same many times. */
export function httpAction(destination: HttpDestination): ObservedAction {
  const { path, socketPath, proxy, hostHeader } = destination;
  const method = destination.method.toUpperCase();
  const server = originOf(destination.scheme, destination.host, destination.port);
  const isDirect = socketPath === undefined && proxy === undefined && method !== "CONNECT";
  const isPlain = path.charCodeAt(0) === SLASH && (hostHeader === undefined || hostHeader === server.authority);
  if (!isDirect || !isPlain || path.length > MAX_PATH) return describe(destination, method, server);
  const asked = withoutQuery(path);
  // No path is taken for a method and a path: it begins with a slash.
  const key = method === "GET" ? asked : `${method} ${asked}`;
  let action = server.actions.get(key);
  if (action === undefined) {
    action = { ...describe(destination, method, server), memo: new Memo() };
    if (known++ >= MAX_ACTIONS) forgetOrigins();
    server.actions.set(key, action);
  }
  return action;
}

/**
 * Its target's id has scheme, host in ASCII, port if not the default, and the
 * path as a server would normalise it; no query, fragment or credentials. A request that goes to a proxy has two
 * targets: what it asks for, then the proxy. So has one over a unix socket: the socket (`unix:/path`), where it goes
 * whatever host it names, then its URL. Never throws.
 */
function describe(destination: HttpDestination, method: string, server: Origin): ObservedAction {
  const ids = requestIds(method, destination.path, server, destination.proxy);
  const { socketPath } = destination;
  const action = Object.hasOwn(ACTIONS, method) ? (ACTIONS[method] ?? "WRITE") : "WRITE";
  const attributes: Record<string, string | number> = {
    [ATTR_HTTP_REQUEST_METHOD]: method,
    [ATTR_URL_FULL]: ids[0],
    [ATTR_URL_SCHEME]: destination.scheme,
    [ATTR_SERVER_ADDRESS]: socketPath ?? server.address,
  };
  if (server.port !== undefined && socketPath === undefined) attributes[ATTR_SERVER_PORT] = server.port;
  if (socketPath !== undefined) attributes[ATTR_NETWORK_TRANSPORT] = "unix";
  // A proxy is sent the host of what it is asked for.
  const named = ids.length > 1 ? undefined : otherHost(destination.hostHeader, server);
  if (named !== undefined) attributes[ATTR_AUDIT_HTTP_HOST] = named;
  return {
    event: EVENT_HTTP_REQUEST,
    name: method,
    action,
    targets: targetsOf(ids, socketPath, action === "READ" ? "read" : "write"),
    attributes,
    // For the status.
    endRoom: 40,
  };
}

/** The server of a request in its one form. */
export interface Origin {
  /** `https://host:8443`, without a path. */
  readonly id: string;
  /** `host:8443`. */
  readonly authority: string;
  readonly address: string;
  /** Only when it is not the default. */
  readonly port: number | undefined;
  /** Of requests to it, by method and path. */
  readonly actions: Map<string, ObservedAction>;
}

const MAX_ORIGINS = 1000;
const origins = new Map<string, Origin>();
/** The one that was asked for last. */
let latest: (Pick<HttpDestination, "scheme" | "host" | "port"> & { readonly origin: Origin }) | undefined;

/** The server that a client library was told; remembered, because an agent talks to few. */
export function originOf(scheme: "http" | "https", host: string, port: number | string | undefined): Origin {
  if (latest !== undefined && latest.host === host && latest.port === port && latest.scheme === scheme) {
    return latest.origin;
  }
  const key = `${scheme} ${port ?? ""} ${host}`;
  let origin = origins.get(key);
  if (origin === undefined) {
    origin = parseOrigin(scheme, host, port);
    if (key.length > MAX_HOST) return origin;
    if (origins.size >= MAX_ORIGINS) forgetOrigins();
    origins.set(key, origin);
  }
  latest = { scheme, host, port, origin };
  return origin;
}

function forgetOrigins(): void {
  known = 0;
  latest = undefined;
  origins.clear();
}

function parseOrigin(scheme: "http" | "https", host: string, port: number | string | undefined): Origin {
  const name = canonicalHost(host);
  const number = port === undefined || port === "" ? undefined : Number(port);
  const telling = number === undefined || number === DEFAULT_PORTS[scheme] ? undefined : number;
  const authority = telling === undefined ? name : `${name}:${telling}`;
  return {
    id: `${scheme}://${authority}`,
    authority,
    address: name.startsWith("[") ? name.slice(1, -1) : name,
    port: telling === undefined || Number.isNaN(telling) ? undefined : telling,
    actions: new Map(),
  };
}

/** What a Host header names, when that is another host than the connection goes to. */
export function otherHost(header: string | undefined, server: Origin): string | undefined {
  if (header === undefined || header === server.authority) return undefined;
  const url = /[/?#@\\]/.test(header) ? undefined : parse(`${server.id.slice(0, server.id.indexOf(":"))}://${header}`);
  // What stands before an @ would be credentials.
  const host = header.slice(header.lastIndexOf("@") + 1);
  const named = url === undefined ? encodeComponent(host.slice(0, MAX_HOST)) : canonicalAuthority(url);
  return named === server.authority ? undefined : named;
}

/** Of several, all go into the record's list of what was read or written. */
function targetsOf(ids: Ids, socketPath: string | undefined, access: "read" | "write"): Target[] {
  if (ids.length === 1 && socketPath === undefined) return [{ type: "http.endpoint", id: ids[0] }];
  const targets = ids.map((id): Target => ({ type: "http.endpoint", id, access }));
  if (socketPath !== undefined) targets.unshift({ type: "socket", id: `unix:${socketPath}`, access });
  return targets;
}

type Ids = readonly [string, ...string[]];

function requestIds(method: string, path: string, server: Origin, proxy: string | undefined): Ids {
  const ids = addressed(method, path, server);
  return proxy === undefined || ids.includes(proxy) ? ids : [...ids, proxy];
}

function addressed(method: string, path: string, server: Origin): Ids {
  if (method === "CONNECT") {
    const tunnel = parse(`${path.endsWith(":80") ? "http" : "https"}://${path}`);
    return tunnel === undefined
      ? [`${server.id}/`]
      : [`${tunnel.protocol}//${canonicalAuthority(tunnel)}/`, `${server.id}/`];
  }
  if (ABSOLUTE.test(path)) {
    const url = parse(path);
    if (url !== undefined) {
      const id = `${url.protocol}//${canonicalAuthority(url)}${canonicalPath(url.pathname)}`;
      return id.startsWith(`${server.id}/`) ? [id] : [id, `${server.id}/`];
    }
  }
  return [server.id + canonicalPath(path)];
}

const SLASH = 47;
const ABSOLUTE = /^https?:\/\//i;

function canonicalAuthority(url: URL): string {
  const host = canonicalHost(url.hostname);
  return url.port === "" ? host : `${host}:${url.port}`;
}

/** Nothing in it that normalising would change. */
const PLAIN_PATH = /^\/(?:[A-Za-z0-9_~:@!$&'()*+,;=-][A-Za-z0-9_~:@!$&'()*+,;=.-]*(?:\/|$))*$/;
const UNRESERVED_ESCAPE = /%(?:2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])/g;
const ESCAPE = /%[0-9a-fA-F]{2}/g;

/**
 * The path that a server takes it for (RFC 3986 6.2.2): dot segments resolved, needless escapes undone, so that
 * `/v1/refunds/%2e%2e/admin` is not taken for something under `/v1/refunds/`.
 */
export function canonicalPath(requestTarget: string): string {
  const raw = withoutQuery(requestTarget);
  if (PLAIN_PATH.test(raw)) return raw;
  const undone = raw.replace(UNRESERVED_ESCAPE, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)));
  const url = parse(`http://h${undone.startsWith("/") || undone.startsWith("\\") ? "" : "/"}${undone}`);
  const path = url === undefined ? encodeURI(Buffer.from(undone).toString()) : url.pathname;
  return path.replace(ESCAPE, (escape) => escape.toUpperCase());
}

function withoutQuery(requestTarget: string): string {
  const query = requestTarget.indexOf("?");
  const fragment = requestTarget.indexOf("#");
  const end = query === -1 || (fragment !== -1 && fragment < query) ? fragment : query;
  return end === -1 ? requestTarget : requestTarget.slice(0, end);
}

const MAX_HOSTS = 1000;
const MAX_HOST = 300;
const hosts = new Map<string, string>();

/**
 * One form for each host: lower case, IDN in ASCII, numeric addresses as dotted IPv4 (also IPv4 in IPv6, also
 * `0x7f.1`), other IPv6 compressed and in brackets, no trailing dot.
 */
export function canonicalHost(host: string): string {
  const known = hosts.get(host);
  if (known !== undefined) return known;
  const canonical = parseHost(host);
  if (hosts.size >= MAX_HOSTS) hosts.clear();
  if (host.length <= MAX_HOST) hosts.set(host, canonical);
  return canonical;
}

const MAPPED = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

function parseHost(host: string): string {
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host;
  const zone = isIP(bare) === 6 ? bare.indexOf("%") : -1;
  const address = zone === -1 ? bare : bare.slice(0, zone);
  const text = isIP(address) === 6 ? `[${address}]` : address;
  // A host is a host: nothing in it may read as userinfo, port or path.
  const name = /[/?#@\\]|:(?![^[]*\])/.test(text) ? undefined : parse(`http://${text}/`)?.hostname;
  if (name === undefined || name === "") return encodeComponent(bare.toLowerCase());
  const mapped = MAPPED.exec(name);
  if (mapped !== null) {
    const [high, low] = [Number.parseInt(mapped[1] ?? "0", 16), Number.parseInt(mapped[2] ?? "0", 16)];
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  if (zone !== -1) return `${name.slice(0, -1)}%25${encodeComponent(bare.slice(zone + 1))}]`;
  return name.replace(/\.+$/, "") || name;
}

function encodeComponent(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}

/** URL.parse, which Node 20 has not. */
function parse(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}

/** What a client library makes of an option that is to be a text. Empty for nothing, and for what refuses. Never throws. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === undefined || value === null) return "";
  try {
    const toString = property(value, "toString");
    const text: unknown = isFunction(toString) ? Reflect.apply(toString, value, []) : undefined;
    return typeof text === "string" ? text : "";
  } catch {
    return "";
  }
}

export function portOf({ port, scheme }: HttpDestination): number {
  return port === undefined ? DEFAULT_PORTS[scheme] : Number(port);
}

/** Whether more than the server can read the request's head, or nobody knows who serves it. */
export function seenByOthers({ path, socketPath, proxy, scheme, method }: HttpDestination): boolean {
  const isProxied = (proxy !== undefined && scheme === "http") || !path.startsWith("/");
  return socketPath !== undefined || method === "CONNECT" || isProxied;
}
