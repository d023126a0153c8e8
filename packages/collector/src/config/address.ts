import { z } from "zod";

/** Where a component listens. */
export interface Address {
  /** Without brackets for IPv6. */
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/;

/** `host:port` or `[ipv6]:port`, on this machine only: an address that others reach needs credentials first. */
export const listenAddress = z.string().transform((text, context): Address => {
  const match = ADDRESS.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    context.addIssue({
      code: "custom",
      message: `"${text}" is not an address; write host:port with a port from 0 to 65535`,
    });
    return z.NEVER;
  }
  const host = match[1] ?? match[2]!;
  if (!isLoopback(host)) {
    context.addIssue({
      code: "custom",
      message: `"${text}" can be reached from other machines, which needs tokens or TLS and this version has neither; use 127.0.0.1 and a proxy that authenticates`,
    });
    return z.NEVER;
  }
  return { host, port };
});

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** Port 0 asks the system for a free port and stays 0. */
export function offsetPort(address: Address, portOffset: number): Address {
  return address.port === 0 ? address : { host: address.host, port: address.port + portOffset };
}

export function formatAddress({ host, port }: Address): string {
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
