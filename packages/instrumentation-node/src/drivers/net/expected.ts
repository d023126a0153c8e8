import { canonicalHost } from "../http/target.ts";

/** Where a socket is told to connect to. */
export interface Address {
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** Of a unix socket. */
  readonly path: string | undefined;
}

/**
 * Connections of covered drivers, which have records of what goes through them. A driver's connection is one that is made
 * inside of its own call, or directly after it announced it, and goes where it says. Anything else that a driver, an
 * agent or an option of the application connects to meanwhile is not its own.
 */
let expected: readonly Address[] = [];

/** Runs `fn`, in which a covered driver connects to one of `addresses`. */
export function expecting<T>(addresses: readonly Address[], fn: () => T): T {
  const before = expected;
  expected = addresses;
  try {
    return fn();
  } finally {
    expected = before;
  }
}

let announced: Address | undefined;

/** A covered driver connects next, before anything else runs. */
export function announce(address: Address): void {
  announced = address;
  queueMicrotask(() => {
    if (announced === address) announced = undefined;
  });
}

/** Whether a connection is one of a covered driver. */
export function isExpected(address: Address): boolean {
  if (expected.some((one) => isSame(one, address))) return true;
  if (announced === undefined || !isSame(announced, address)) return false;
  announced = undefined;
  return true;
}

function isSame(one: Address, other: Address): boolean {
  if (one.path !== undefined || other.path !== undefined) return one.path === other.path;
  return one.port === other.port && canonicalHost(one.host ?? "localhost") === canonicalHost(other.host ?? "localhost");
}

/** An address as options and arguments have it. */
export function addressOf(host: unknown, port: unknown, path: unknown): Address {
  return {
    host: typeof host === "string" && host !== "" ? host : undefined,
    port: port === undefined || port === null || port === "" ? undefined : Number(port),
    path: typeof path === "string" && path !== "" ? path : undefined,
  };
}
