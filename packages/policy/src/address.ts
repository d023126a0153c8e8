import type { ResourceKind } from "./resource-kind.ts";

// The parts of an address that different programs spell differently, and the one spelling they are compared in.

const DEFAULT_PORTS: Readonly<Record<string, string>> = {
  http: "80",
  ws: "80",
  https: "443",
  wss: "443",
  postgresql: "5432",
  mysql: "3306",
  mariadb: "3306",
};

/** Host in lower case, punycode, numeric forms resolved; no credentials, no trailing dot, no default port. */
export function canonicalAuthority(authority: string, scheme: string): string {
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  if (host === "") {
    return "";
  }
  const [name, port] = splitPort(host);
  const canonical = canonicalHost(name);
  return port === "" || port === DEFAULT_PORTS[scheme] ? canonical : `${canonical}:${port}`;
}

/** The host and its port; an IPv6 address keeps its brackets. */
export function splitPort(host: string): readonly [name: string, port: string] {
  const colon = host.lastIndexOf(":");
  if (colon === -1 || colon < host.lastIndexOf("]") || !/^\d*$/.test(host.slice(colon + 1))) {
    return [host, ""];
  }
  return [host.slice(0, colon), host.slice(colon + 1).replace(/^0+(?=\d)/, "")];
}

const PLAIN_HOST = /^(?:[a-z0-9_-]+\.)*[a-z][a-z0-9_-]*$/;

function canonicalHost(name: string): string {
  if (PLAIN_HOST.test(name) && !name.includes("xn--")) {
    return name;
  }
  let host = name;
  try {
    // The URL parser knows punycode, 0x7f.1, 2130706433 and the short forms of IPv6.
    host = new URL(`http://${name}`).hostname;
  } catch {
    host = name.toLowerCase();
  }
  return mappedIpv4(withoutTrailingDots(host));
}

function withoutTrailingDots(host: string): string {
  let end = host.length;
  while (host[end - 1] === ".") {
    end -= 1;
  }
  return host.slice(0, end);
}

/** `[::ffff:a9fe:a9fe]` is the same machine as `169.254.169.254`. */
function mappedIpv4(host: string): string {
  const match = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(host);
  if (match === null) {
    return host;
  }
  const bits = Number.parseInt(match[1] ?? "0", 16) * 0x10000 + Number.parseInt(match[2] ?? "0", 16);
  return [24, 16, 8, 0].map((shift) => Math.floor(bits / 2 ** shift) % 256).join(".");
}

/**
 * Percent-encoding undone where that changes no meaning. `%2F`, `%5C`, `%25`, `%3F`, `%23`, controls and what is not UTF-8
 * stay, in upper case, so that `a%2Fb` is still one segment.
 */
export function decodeOnce(text: string): string {
  if (!text.includes("%")) {
    return text;
  }
  return text.replaceAll(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const parts = run.toUpperCase().split(/(%(?:2F|5C|25|3F|23|[01][0-9A-F]|7F))/);
    return parts.map((part, index) => (index % 2 === 1 ? part : decodeUtf8(part))).join("");
  });
}

function decodeUtf8(run: string): string {
  try {
    return decodeURIComponent(run);
  } catch {
    // Byte by byte: a broken sequence stays as it is, its valid neighbours are decoded.
    return run.replaceAll(/%[0-7][0-9A-F]/g, (byte) => decodeURIComponent(byte));
  }
}

const MAX_DECODE_ROUNDS = 4;

/** Everything decoded, as often as it takes: some proxies decode before the server does it again. */
function decodeFully(text: string): string {
  let decoded = text;
  for (let round = 0; round < MAX_DECODE_ROUNDS && decoded.includes("%"); round++) {
    const next = decoded.replaceAll(/(?:%[0-9a-f]{2})+/gi, decodeUtf8);
    if (next === decoded) {
      break;
    }
    decoded = next;
  }
  return decoded;
}

/** `.`, `..` and empty segments resolved, without a trailing slash. The path starts with `/`. */
export function resolvePath(path: string): string {
  if (!/\/(?:\/|\.{1,2}(?:\/|$)|$)/.test(path)) {
    return path;
  }
  const kept: string[] = [];
  for (const segment of path.split("/")) {
    if (segment === "..") {
      kept.pop();
    } else if (segment !== "" && segment !== ".") {
      kept.push(segment);
    }
  }
  return `/${kept.join("/")}`;
}

/** Nothing in these differs between the readings. */
const PLAIN_TEXT = /^\/?[a-z0-9._~:@,+=!$&'()*-]+(?:\/[a-z0-9._~:@,+=!$&'()*-]+)*$/;
const DOT_SEGMENT = /(?:^|\/)\.{1,2}(?:\/|$)/;

/**
 * The lenient reading of an address or of a literal part of a pattern: case, repeated and late decoding, `\` for `/`,
 * empty and dot segments, `;parameters`, compatibility characters.
 */
export function foldText(kind: ResourceKind, exact: string): string {
  if (PLAIN_TEXT.test(exact) && !DOT_SEGMENT.test(exact)) {
    return exact;
  }
  const folded = foldCharacters(kind, exact);
  if (kind === "tool") {
    return folded;
  }
  const path = kind === "http" ? folded.replaceAll(/;[^/]*/g, "").replace(/[?#\0].*$/s, "") : folded;
  const slash = path.indexOf("/");
  if (slash === -1) {
    return path;
  }
  const resolved = resolvePath(path.slice(slash));
  return path.slice(0, slash) + (resolved === "/" && slash > 0 ? "" : resolved);
}

/** The part of {@link foldText} that looks at characters only: for the literals of a pattern. */
export function foldCharacters(kind: ResourceKind, text: string): string {
  const decoded = decodeFully(text).replaceAll("\\", "/").normalize("NFKC").toLowerCase();
  return kind === "db" ? decoded.replaceAll(/["`]/g, "") : decoded;
}
