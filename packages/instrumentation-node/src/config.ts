import { tmpdir, userInfo } from "node:os";
import { join, resolve } from "node:path";

import type { PolicyMode } from "@otel-audit/policy";
import type { Attributes } from "@otel-audit/otlp";
import { ATTR_SERVICE_NAME } from "@otel-audit/semantic-conventions";

import { auditEnvironment } from "./environment.ts";
import { InstrumentationError } from "./errors.ts";
import type { Actor } from "./identity.ts";
import { actorFromEnvironment, causeFromEnvironment, isInherited, type Environment } from "./identity-environment.ts";
import { parseHosts, parseSources } from "./propagation/hosts.ts";
import type { Propagation } from "./propagation/propagation.ts";

/** What happens to actions of nobody: outside `withAgent`, in a process without an identity of its own. */
export type Unattributed = "record" | "ignore" | "deny";

/** What becomes of an action for whose record the spool has no room: waits where the API can wait (else denied), or is denied. */
export type SpoolFull = "block" | "deny";

/** The configuration of the audit in this process. Every option has its environment variable. */
export interface AuditConfig {
  /** OTEL_AUDIT_DISABLED. Default false. */
  readonly disabled: boolean;
  /** Base URL, to which `/v1/traces` is added. OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT. Default http://127.0.0.1:4318. */
  readonly endpoint: URL;
  /** OTEL_AUDIT_EXPORTER_OTLP_HEADERS; OTEL_EXPORTER_OTLP_HEADERS if the endpoint is the one of OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly headers: Readonly<Record<string, string>>;
  /** Send records even to an endpoint that does not answer as an otel-audit collector. OTEL_AUDIT_EXPORTER_TRUST. Default false. */
  readonly trust: boolean;
  /** Who acts outside `withAgent`. OTEL_AUDIT_AGENT_ID, _AGENT_NAME, _AGENT_VERSION, _CREDENTIAL, _ON_BEHALF_OF, _WORKFLOW_NAME, _WORKFLOW_ID, _CONVERSATION_ID. */
  readonly agent: Actor | undefined;
  /** The record that led to this process: the one of its start, if an audited process started it. OTEL_AUDIT_CAUSE_RECORD_ID. */
  readonly cause: string | undefined;
  /** Path of the policy. OTEL_AUDIT_POLICY. Default none: everything is allowed. */
  readonly policyFile: string | undefined;
  /** Overrides the mode that the policy names. OTEL_AUDIT_MODE. */
  readonly mode: PolicyMode | undefined;
  /** OTEL_AUDIT_UNATTRIBUTED. Default record. */
  readonly unattributed: Unattributed;
  /** OTEL_AUDIT_SPOOL_DIR. Default a directory of the user's own under the system's temporary one. */
  readonly spoolDir: string;
  /** What one process may leave unsent on disk, in bytes. OTEL_AUDIT_SPOOL_MAX_BYTES. Default 512 MiB, at least 1 MiB. */
  readonly spoolMaxBytes: number;
  /** What becomes of actions when that is reached: nothing runs without a record, in both modes. OTEL_AUDIT_SPOOL_FULL. Default deny. */
  readonly spoolFull: SpoolFull;
  /** The collector's data directory, if one runs here: the audited code may not touch it. OTEL_AUDIT_DATA_DIR. Default `otel-audit-data`. */
  readonly dataDir: string;
  /** Who decides on reviews. OTEL_AUDIT_APPROVER, a URL. Default the function of `setApprover`, else nobody: a review is a deny. */
  readonly approver: URL | undefined;
  /** OTEL_AUDIT_APPROVER_HEADERS, `key=value,…`. */
  readonly approverHeaders: Readonly<Record<string, string>>;
  /** How long an action waits for an answer, in milliseconds. OTEL_AUDIT_APPROVER_TIMEOUT. Default 60,000, at most a day. */
  readonly approverTimeoutMs: number;
  /**
   * Who is told who acts: hosts, `*.internal`, each with an optional port. OTEL_AUDIT_PROPAGATE_TO, comma separated. Default none.
   * Whose word about it is taken: `none`, `stdio` (who started this MCP server), `loopback`, `unix`, addresses, networks, `*`.
   * OTEL_AUDIT_ACCEPT_FROM, comma separated. Default `stdio`: who starts a process gives it its environment, too.
   */
  readonly propagation: Propagation;
  /** Attributes of the records' resource. OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME. */
  readonly resource: Attributes;
}

const DEFAULT_ENDPOINT = "http://127.0.0.1:4318";
const MIB = 1024 * 1024;
const DAY_MS = 24 * 60 * 60_000;

/**
 * Reads the configuration from environment variables.
 *
 * @throws InstrumentationError INVALID_CONFIG: an audit in another mode than the one that was meant is worse than
 *   none, so a value that is not understood stops the start instead of being guessed at.
 */
export function configFromEnvironment(env: Environment = auditEnvironment()): AuditConfig {
  const own = nonEmpty(env["OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT"]);
  const shared = nonEmpty(env["OTEL_EXPORTER_OTLP_ENDPOINT"]);
  const variable = own === undefined ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT";
  // The general headers may hold the token of the debug backend: they go nowhere else.
  const headers =
    env["OTEL_AUDIT_EXPORTER_OTLP_HEADERS"] ?? (own === undefined ? env["OTEL_EXPORTER_OTLP_HEADERS"] : undefined);
  const policy = nonEmpty(env["OTEL_AUDIT_POLICY"]);
  const approver = nonEmpty(env["OTEL_AUDIT_APPROVER"]);
  return {
    disabled: flag(env, "OTEL_AUDIT_DISABLED"),
    endpoint: endpoint(variable, own ?? shared ?? DEFAULT_ENDPOINT),
    headers: Object.fromEntries(pairs(headers)),
    trust: flag(env, "OTEL_AUDIT_EXPORTER_TRUST"),
    agent: actorFromEnvironment(env),
    cause: causeFromEnvironment(env),
    policyFile: policy === undefined ? undefined : resolve(policy),
    mode: oneOf(env, "OTEL_AUDIT_MODE", ["observe", "enforce"]),
    unattributed: oneOf(env, "OTEL_AUDIT_UNATTRIBUTED", ["record", "ignore", "deny"]) ?? "record",
    spoolDir: resolve(nonEmpty(env["OTEL_AUDIT_SPOOL_DIR"]) ?? join(tmpdir(), `otel-audit-spool-${userId()}`)),
    spoolMaxBytes: integer(env, "OTEL_AUDIT_SPOOL_MAX_BYTES", 512 * MIB, MIB),
    spoolFull: oneOf(env, "OTEL_AUDIT_SPOOL_FULL", ["block", "deny"]) ?? "deny",
    dataDir: resolve(nonEmpty(env["OTEL_AUDIT_DATA_DIR"]) ?? "otel-audit-data"),
    approver: approver === undefined ? undefined : endpoint("OTEL_AUDIT_APPROVER", approver),
    approverHeaders: Object.fromEntries(pairs(env["OTEL_AUDIT_APPROVER_HEADERS"])),
    approverTimeoutMs: integer(env, "OTEL_AUDIT_APPROVER_TIMEOUT", 60_000, 1, DAY_MS),
    propagation: propagation(env),
    resource: resource(env),
  };
}

function resource(env: Environment): Attributes {
  const attributes: Record<string, string> = { [ATTR_SERVICE_NAME]: "unknown_service:node" };
  for (const [key, value] of pairs(env["OTEL_RESOURCE_ATTRIBUTES"])) attributes[key] = value;
  const service = nonEmpty(env["OTEL_SERVICE_NAME"]);
  if (service !== undefined) attributes[ATTR_SERVICE_NAME] = service;
  return attributes;
}

function endpoint(variable: string, text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new InstrumentationError("INVALID_CONFIG", `${variable}: not a URL: "${text}"`, { cause });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new InstrumentationError("INVALID_CONFIG", `${variable}: must be http: or https:, got "${url.protocol}"`);
  }
  return url;
}

function propagation(env: Environment): Propagation {
  const hosts = list(env["OTEL_AUDIT_PROPAGATE_TO"]);
  const to = parseHosts(hosts);
  if (to === undefined) {
    const message = "OTEL_AUDIT_PROPAGATE_TO: must be hosts such as orders.internal, *.internal:8443 or [::1]";
    throw new InstrumentationError("INVALID_CONFIG", `${message}, got "${hosts.join(",")}"`);
  }
  const sources = list(nonEmpty(env["OTEL_AUDIT_ACCEPT_FROM"]) ?? "stdio");
  const from = parseSources(sources);
  if (from === undefined) {
    const message = "OTEL_AUDIT_ACCEPT_FROM: must be none, stdio, unix, loopback, addresses, networks or *";
    throw new InstrumentationError("INVALID_CONFIG", `${message}, got "${sources.join(",")}"`);
  }
  return { to: hosts.length === 0 ? undefined : to, from, isInherited: isInherited(env) };
}

function oneOf<T extends string>(env: Environment, name: string, values: readonly T[]): T | undefined {
  const text = nonEmpty(env[name]);
  if (text === undefined) return undefined;
  const value = values.find((known) => known === text.toLowerCase());
  if (value === undefined) {
    throw new InstrumentationError("INVALID_CONFIG", `${name}: must be one of ${values.join(", ")}, got "${text}"`);
  }
  return value;
}

function flag(env: Environment, name: string): boolean {
  const value = oneOf(env, name, ["1", "true", "0", "false"]);
  return value === "1" || value === "true";
}

function integer(env: Environment, name: string, otherwise: number, least: number, most?: number): number {
  const text = nonEmpty(env[name]);
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new InstrumentationError("INVALID_CONFIG", `${name}: must be an integer of at least ${least}, got "${text}"`);
  }
  if (most !== undefined && value > most) {
    throw new InstrumentationError("INVALID_CONFIG", `${name}: must be at most ${most}, got "${text}"`);
  }
  return value;
}

/** `key=value,…` with percent-encoding, as OTEL_RESOURCE_ATTRIBUTES and the headers variables have it. */
function pairs(text: string | undefined): [string, string][] {
  return list(text).flatMap((item): [string, string][] => {
    const at = item.indexOf("=");
    return at <= 0 ? [] : [[decode(item.slice(0, at).trim()), decode(item.slice(at + 1).trim())]];
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function list(text: string | undefined): string[] {
  return (text ?? "")
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}

function userId(): string {
  try {
    return String(process.getuid?.() ?? userInfo().username);
  } catch {
    return "unknown";
  }
}
