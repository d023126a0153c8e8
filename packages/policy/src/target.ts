import type { AuditTargetType } from "@otel-audit/semantic-conventions";
import { canonicalAuthority, decodeOnce, foldText, resolvePath } from "./address.ts";
import type { ResourceKind } from "./resource-kind.ts";

/** Longest target id that is judged, in UTF-16 code units. */
const MAX_TARGET_LENGTH = 8192;

/**
 * A target as the patterns see it. Where systems disagree about an address there are two readings, and the doubt goes
 * against the action: a deny needs one of them, an allow both.
 */
export interface Reading {
  readonly kind: ResourceKind;
  /** Lower case, without the colon; empty where the kind has none. */
  readonly scheme: string;
  /** What a server that follows the standards sees: `host[:port]/path`, `host/db/schema.table`, `/path`, a name. */
  readonly exact: string;
  /** What a lenient one sees; the very same string where there is no doubt. */
  readonly loose: string;
}

/** The id is not a canonical one, so the action cannot be judged. */
class TargetError extends Error {
  override readonly name = "TargetError";
}

export function kindOf(type: AuditTargetType): ResourceKind {
  switch (type) {
    case "http.endpoint":
      return "http";
    case "database.table":
    case "database":
      return "db";
    case "file":
    case "tool":
    case "process":
    case "socket":
      return type;
    default:
      throw new TargetError(`unknown target type ${describe(type)}`);
  }
}

/** Throws {@link TargetError}. */
export function readTarget(type: AuditTargetType, id: string): Reading {
  const kind = kindOf(type);
  if (typeof id !== "string" || id === "") {
    throw new TargetError(`the ${type} target has no id`);
  }
  if (id.length > MAX_TARGET_LENGTH) {
    throw new TargetError(
      `the ${type} target's id has ${id.length} characters, at most ${MAX_TARGET_LENGTH} are judged`,
    );
  }
  const target = readAs(kind, id);
  // Compatibility characters may grow when they are folded.
  if (target.loose.length > 2 * MAX_TARGET_LENGTH) {
    throw new TargetError(`the ${type} target ${describe(id)} is too long to be judged`);
  }
  return target;
}

function readAs(kind: ResourceKind, id: string): Reading {
  switch (kind) {
    case "http":
      return readHttp(id);
    case "db":
      return readDatabase(id);
    case "file":
      return readFile(id);
    case "tool":
      return reading(kind, "", id.startsWith("tool:") ? decodeName(id.slice("tool:".length)) : id);
    case "process":
      return readProcess(id);
    case "socket":
      return readSocket(id);
    default:
      throw new TargetError(`unknown kind ${describe(kind)}`);
  }
}

const WEB_SCHEMES: ReadonlySet<string> = new Set(["http", "https", "ws", "wss"]);

function readHttp(id: string): Reading {
  const plain = plainHttp(id);
  if (plain !== undefined) {
    return plain;
  }
  let url: URL;
  try {
    url = new URL(id);
  } catch {
    throw new TargetError(`the http.endpoint target ${describe(id)} is not a URL`);
  }
  const scheme = url.protocol.slice(0, -1);
  if (!WEB_SCHEMES.has(scheme)) {
    throw new TargetError(`the http.endpoint target ${describe(id)} is not an http URL`);
  }
  // Credentials, query and fragment are no part of what is protected.
  return reading("http", scheme, canonicalAuthority(url.host, scheme) + decodeOnce(url.pathname));
}

const PLAIN_HTTP =
  /^(https?):\/\/(?:(?:[a-z0-9_-]+\.)*[a-z][a-z0-9_-]*|(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2}))(?::(?!80\/|443\/|0)\d{1,5})?((?:\/[A-Za-z0-9_~-][A-Za-z0-9._~:@,-]*)*)(\/?)$/;

/** Ids without anything to canonicalise, which is nearly all of them: about a tenth of the cost of a URL object. */
function plainHttp(id: string): Reading | undefined {
  const match = PLAIN_HTTP.exec(id);
  // Without a path the URL parser adds one; punycode is its business too.
  if (match === null || (match[2] === "" && match[3] === "") || id.includes("xn--")) {
    return undefined;
  }
  const scheme = match[1] ?? "";
  const exact = id.slice(scheme.length + 3);
  const path = exact.toLowerCase();
  return { kind: "http", scheme, exact, loose: match[3] === "" ? path : path.slice(0, -1) };
}

const DATABASE_ID = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)/i;

const PLAIN_DATABASE =
  /^postgresql:\/\/(?:[a-z0-9_-]+\.)*[a-z][a-z0-9_-]*(?::(?!5432\/|0)\d{1,5})?(?:\/[a-z0-9_]+(?:\.[a-z0-9_]+)*)+$/;

function readDatabase(id: string): Reading {
  if (PLAIN_DATABASE.test(id) && !id.includes("xn--")) {
    const rest = id.slice("postgresql://".length);
    return { kind: "db", scheme: "postgresql", exact: rest, loose: rest };
  }
  const match = DATABASE_ID.exec(id);
  if (match === null) {
    throw new TargetError(`the database target ${describe(id)} has no scheme and host, as in postgresql://host/db`);
  }
  const given = (match[1] ?? "").toLowerCase();
  const scheme = given === "postgres" ? "postgresql" : given;
  return reading("db", scheme, canonicalAuthority(match[2] ?? "", scheme) + decodeOnce(match[3] ?? ""));
}

function readFile(id: string): Reading {
  if (id.startsWith("file://")) {
    const rest = withoutPrefix(id.slice("file://".length), "localhost");
    // file://server/share keeps its two slashes, so that no pattern for a local path takes it.
    const path = rest.startsWith("/") ? resolvePath(decodeOnce(rest)) : `/${resolvePath(`/${decodeOnce(rest)}`)}`;
    return reading("file", "file", path);
  }
  if (!id.startsWith("/")) {
    throw new TargetError(`the file target ${describe(id)} is not an absolute file URL`);
  }
  return reading("file", "file", resolvePath(id));
}

/** A name's percent-encoding hides no structure, so all of it is undone. */
function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readProcess(id: string): Reading {
  const path = decodeOnce(withoutPrefix(withoutPrefix(id, "process:"), "file://"));
  return reading("process", "", path.startsWith("/") ? resolvePath(path) : path);
}

const SOCKET_ID = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/]*))?(.*)$/is;

function readSocket(id: string): Reading {
  const match = SOCKET_ID.exec(id);
  if (match === null) {
    return reading("socket", "", canonicalAuthority(id, ""));
  }
  const [, scheme = "", authority, path = ""] = match;
  if (authority === undefined && !path.startsWith("/")) {
    // `host:port` without a scheme.
    return reading("socket", "", canonicalAuthority(id, ""));
  }
  return reading("socket", scheme.toLowerCase(), canonicalAuthority(authority ?? "", "") + path);
}

function reading(kind: ResourceKind, scheme: string, exact: string): Reading {
  return { kind, scheme, exact, loose: foldText(kind, exact) };
}

function withoutPrefix(text: string, prefix: string): string {
  return text.startsWith(prefix) ? text.slice(prefix.length) : text;
}

/** Bounded and quoted: ids come from the agent and end in reasons. */
export function describe(value: unknown): string {
  const text = typeof value === "string" ? value : String(value);
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
}
