import { BlockList, isIP } from "node:net";

/** Whether a request to this host and port is one to a listed host. */
export type HostList = (host: string, port: number) => boolean;

const HOST = /^(\*\.)?([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/;

/**
 * Reads OTEL_AUDIT_PROPAGATE_TO: `orders.internal`, `*.internal` (every host below it, at any depth), `127.0.0.1`, `[::1]`,
 * each with an optional port; without one any port is meant.
 *
 * @returns undefined for an item that is none of these; `*` alone is none.
 */
export function parseHosts(items: readonly string[]): HostList | undefined {
  const entries = items.map((item) => HOST.exec(item.toLowerCase()));
  if (entries.some((entry) => entry === null)) return undefined;
  const rules = entries.map((entry) => ({
    below: entry?.[1] !== undefined,
    name: entry?.[2] ?? "",
    port: entry?.[3] === undefined ? undefined : Number(entry[3]),
  }));
  return (host, port) => {
    const name = plainHost(host);
    return rules.some(
      (rule) =>
        (rule.port === undefined || rule.port === port) &&
        (rule.below ? name.endsWith(`.${rule.name}`) && name.length > rule.name.length + 1 : name === rule.name),
    );
  };
}

/** As it stands in a URL: lower case, IPv6 in brackets, without the dot at the end. */
function plainHost(host: string): string {
  const lower = host.toLowerCase();
  if (isIP(lower) === 6) return `[${lower}]`;
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** Whose word about who acts is taken: who started this process, or who sends it requests. */
export interface Sources {
  /** The process at the other end of standard input. */
  readonly stdio: boolean;
  /** Whether any sender of HTTP requests is accepted. */
  readonly http: boolean;
  /** @param address of the socket's other end; undefined for a unix socket */
  accepts(address: string | undefined): boolean;
}

const NETWORK = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/;
const LOOPBACK = ["127.0.0.0/8", "::1"];

/**
 * Reads OTEL_AUDIT_ACCEPT_FROM: `none`, `stdio`, `unix` (unix sockets), `loopback`, an IP address, a network
 * (`10.0.0.0/8`), `*`.
 *
 * @returns undefined for an item that is none of these.
 */
export function parseSources(items: readonly string[]): Sources | undefined {
  const words = new Set(items.map((item) => item.toLowerCase()));
  const networks = [...words]
    .filter((word) => !["none", "stdio", "unix", "loopback", "*"].includes(word))
    .concat(words.has("loopback") ? LOOPBACK : []);
  const list = new BlockList();
  for (const network of networks) if (!addNetwork(list, network)) return undefined;
  const all = words.has("*");
  return {
    stdio: words.has("stdio"),
    http: all || words.has("unix") || networks.length > 0,
    accepts: (address) => {
      if (all) return true;
      if (address === undefined) return words.has("unix");
      const plain = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
      const version = isIP(plain);
      return version !== 0 && list.check(plain, version === 6 ? "ipv6" : "ipv4");
    },
  };
}

function addNetwork(list: BlockList, text: string): boolean {
  const [, address = "", bits] = NETWORK.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return false;
  const prefix = bits === undefined ? (version === 6 ? 128 : 32) : Number(bits);
  if (prefix > (version === 6 ? 128 : 32)) return false;
  list.addSubnet(address, prefix, version === 6 ? "ipv6" : "ipv4");
  return true;
}
