import type { ClientRequest } from "node:http";

import { http, https } from "../../builtins.ts";
import { isObject, property } from "../../unknown.ts";
import { type HttpDestination, textOf } from "./target.ts";

/**
 * Where a request is about to go, by the request and the options that its agent gets, which Node has read once from what
 * the application gave it.
 */
export function destinationOf(request: ClientRequest, options: unknown, agent: unknown): HttpDestination {
  // An agent's options are put over those of its requests.
  const stronger = property(agent, "options");
  const told = (name: string): unknown =>
    isObject(stronger) && Object.hasOwn(stronger, name) ? stronger[name] : property(options, name);
  const port = told("port");
  // The way before options: `addRequest(request, host, port)`.
  const host = typeof options === "string" ? options : textOf(told("host")) || request.host;
  const socketPath = textOf(told("socketPath"));
  return {
    method: request.method,
    scheme: request.protocol === "https:" ? "https" : "http",
    host: host || "localhost",
    port: typeof port === "number" ? port : textOf(port) || portOf(request),
    path: request.path,
    socketPath: socketPath === "" ? undefined : socketPath,
    hostHeader: hostHeaderOf(request, undefined),
  };
}

/** The default port of the agent, which is what a request without one takes. */
function portOf(request: ClientRequest): number | undefined {
  const port = property(property(request, "agent"), "defaultPort");
  return typeof port === "number" ? port : undefined;
}

/** @param headers what the head is rendered from: a list, or the request's own headers */
export function hostHeaderOf(request: ClientRequest, headers: unknown): string | undefined {
  if (!Array.isArray(headers)) {
    const value = request.getHeader("host");
    if (typeof value === "string") return value;
    return value === undefined ? inHead(property(request, "_header")) : String(value);
  }
  const list: unknown[] = headers.every((entry) => Array.isArray(entry)) ? headers.flat() : headers;
  const at = list.findIndex((name, i) => i % 2 === 0 && String(name).toLowerCase() === "host");
  return at === -1 ? undefined : String(list[at + 1]);
}

/** A head that is rendered already: with a list of headers, or with `Expect`. */
function inHead(head: unknown): string | undefined {
  return typeof head === "string" ? /^host: *(.*)\r$/im.exec(head)?.[1] : undefined;
}

/** Whether the application itself looks the address up, or opens the connection, or goes through a proxy. */
export function isOwnWay(options: unknown, agent: unknown): boolean {
  const stronger = property(agent, "options");
  const connect = property(agent, "createConnection");
  return (
    (connect !== http.Agent.prototype.createConnection && connect !== https.Agent.prototype.createConnection) ||
    property(agent, "createSocket") !== property(http.Agent.prototype, "createSocket") ||
    property(options, "lookup") !== undefined ||
    property(stronger, "lookup") !== undefined ||
    property(stronger, "proxyEnv") !== undefined
  );
}
