import { z } from "zod";
import { configError } from "../errors.ts";
import { redactUrl } from "./secret.ts";

/** Where a component listens. */
export interface Address {
  /** Without brackets for IPv6. */
  readonly host: string;
  readonly port: number;
}

/** A socket in the file system. */
export interface UnixAddress {
  /** Absolute. */
  readonly path: string;
}

const MAX_PORT = 65_535;
const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/;
/** A socket's path has room for 104 bytes (macOS), and one is made under a longer name first. */
const MAX_PATH_BYTES = 90;

/** `host:port` or `[ipv6]:port`; undefined when it is neither. */
function parseAddress(text: string): Address | undefined {
  const match = ADDRESS.exec(text);
  const port = Number(match?.[3]);
  return match && port <= MAX_PORT ? { host: match[1] ?? match[2]!, port } : undefined;
}

/** An address that other machines may reach: nothing that listens there can be harmed, or tells what is secret. */
export const anyAddress = z.string().transform((text, context): Address => {
  const address = parseAddress(text);
  if (address) return address;
  context.addIssue({ code: "custom", message: notAnAddress(text) });
  return z.NEVER;
});

/** An address on this machine only: what listens there asks nobody for credentials. */
export const localAddress = anyAddress.superRefine((address, context) => {
  if (isLoopback(address.host)) return;
  context.addIssue({
    code: "custom",
    message: `"${formatAddress(address)}" can be reached from other machines, and this asks nobody for credentials; use 127.0.0.1 and a proxy that authenticates`,
  });
});

/** What has to be known about a listener before it may be reached from other machines. */
interface Guard {
  readonly transport: "tcp" | "unix";
  /** Every client has to show a token or a certificate. */
  readonly authenticates: boolean;
}

/** Where a protocol listens, or what is wrong with it. */
export function protocolAddress(text: string, { transport, authenticates }: Guard): Address | UnixAddress | string {
  if (transport === "unix") {
    if (!text.startsWith("/")) return `"${text}" is not an absolute path, which transport "unix" needs`;
    const bytes = Buffer.byteLength(text);
    return bytes <= MAX_PATH_BYTES
      ? { path: text }
      : `"${text}" has ${bytes} bytes; the path of a socket may have ${MAX_PATH_BYTES}`;
  }
  const address = parseAddress(text);
  if (!address) return notAnAddress(text);
  if (isLoopback(address.host) || authenticates) return address;
  return `"${text}" can be reached from other machines, and nobody there is asked for credentials; set auth::authenticator (tokens) or tls::client_ca_file (client certificates), or listen on 127.0.0.1`;
}

function notAnAddress(text: string): string {
  return `"${redactUrl(text)}" is not an address; write host:port with a port from 0 to 65535`;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/**
 * Port 0 asks the system for a free port and stays 0.
 * @param what the setting that has the address
 * @throws CollectorError `INVALID_CONFIG`
 */
export function offsetPort(address: Address, portOffset: number, what: string): Address {
  if (address.port === 0) return address;
  const port = address.port + portOffset;
  if (port > MAX_PORT)
    throw configError([], `--port-offset ${portOffset} moves ${what} to port ${port}; the highest is ${MAX_PORT}`);
  return { host: address.host, port };
}

export function formatAddress(address: Address | UnixAddress): string {
  if ("path" in address) return `unix:${address.path}`;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * The value of a `Host` header names this machine. A page in a browser that points a name of its own at 127.0.0.1 (DNS
 * rebinding) is refused by this.
 */
export function isLoopbackHostHeader(header: string | undefined): boolean {
  if (header === undefined) return false;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:]+))(?::\d+)?$/.exec(header);
  return match !== null && isLoopback((match[1] ?? match[2]!).toLowerCase());
}
