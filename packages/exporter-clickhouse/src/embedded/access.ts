import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { BlockList, isIP } from "node:net";
import { exception } from "./exception.ts";
import type { Role } from "./settings.ts";

/** Name of the writer's user. Its password is random and lives in memory. */
export const WRITER_USER = "otel_audit_writer";
/** Name of the readers' user; `default` and no name at all mean the same. */
export const READER_USER = "reader";

/** What the server lets in. */
export interface AccessRules {
  /** Undefined when nobody may write. */
  readonly writerPassword: string | undefined;
  /** Readers' password. Undefined lets in whoever reaches the (loopback) address. */
  readonly readerToken: string | undefined;
  /** Host names, without port, beside the loopback ones; `undefined` takes any, for an address that demands a token. */
  readonly hosts: readonly string[] | undefined;
}

/** What is looked at of a request. */
export interface RequestWithHeaders {
  readonly headers: IncomingHttpHeaders;
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

/** Whether an address or name can only mean this machine. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const family = isIP(bare);
  if (family === 0) return bare === "localhost" || bare.endsWith(".localhost");
  return LOOPBACK.check(bare, family === 4 ? "ipv4" : "ipv6");
}

/**
 * Refuses what a browser sends on behalf of a page from elsewhere: a host name that was made to point here (DNS
 * rebinding), or an origin that is not this server.
 */
export function checkOrigin(request: RequestWithHeaders, rules: AccessRules): void {
  const header = request.headers.host ?? "";
  const host = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/@\s]+)(?::\d{1,5})?$/.exec(header)?.[1]?.toLowerCase();
  const known = host !== undefined && (isLoopbackHost(host) || rules.hosts === undefined || rules.hosts.includes(host));
  if (!known) throw exception("ACCESS_DENIED", `Host ${JSON.stringify(header)} is not a name of this server`);
  const { origin } = request.headers;
  if (origin !== undefined && origin !== `http://${header}`) {
    throw exception("ACCESS_DENIED", `requests from web pages (Origin ${JSON.stringify(origin)}) are not answered`);
  }
}

/**
 * Who sends a request: by `X-ClickHouse-User` and `-Key`, `Authorization` (Basic, or Bearer for a reader's token), or the
 * parameters `user` and `password`.
 *
 * @throws ClickHouseError 194 without a needed password, 516 with a wrong one.
 */
export function authenticate(request: RequestWithHeaders, search: URLSearchParams, rules: AccessRules): Role {
  const { user, password } = credentials(request, search);
  if (user === WRITER_USER) {
    if (rules.writerPassword === undefined || !isEqual(password, rules.writerPassword)) throw failed(user);
    return "writer";
  }
  if (user !== "" && user !== "default" && user !== READER_USER) throw failed(user);
  if (rules.readerToken === undefined) {
    if (password !== "") throw failed(user);
  } else if (!isEqual(password, rules.readerToken)) {
    if (password === "")
      throw exception("REQUIRED_PASSWORD", "a token is required, as the password of the user reader");
    throw failed(user);
  }
  return "reader";
}

function failed(user: string): Error {
  const name = user.slice(0, 64);
  return exception(
    "AUTHENTICATION_FAILED",
    `${name}: Authentication failed: password is incorrect, or there is no user with such name`,
  );
}

function credentials(request: RequestWithHeaders, search: URLSearchParams): { user: string; password: string } {
  const { authorization } = request.headers;
  const user = request.headers["x-clickhouse-user"];
  const key = request.headers["x-clickhouse-key"];
  if (user !== undefined || key !== undefined) return { user: String(user ?? ""), password: String(key ?? "") };
  const [scheme = "", value = ""] = (authorization ?? "").split(/\s+/, 2);
  if (scheme.toLowerCase() === "bearer") return { user: "", password: value };
  if (scheme.toLowerCase() === "basic") {
    const text = Buffer.from(value, "base64").toString("utf8");
    const colon = text.indexOf(":");
    return colon < 0 ? { user: text, password: "" } : { user: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  if (scheme !== "") throw exception("AUTHENTICATION_FAILED", "Authorization: Basic or Bearer are understood");
  return { user: search.get("user") ?? "", password: search.get("password") ?? "" };
}

/** Of hashes, so that neither content nor length shows in the time it takes. */
function isEqual(given: string, secret: string): boolean {
  return timingSafeEqual(digest(given), digest(secret));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
