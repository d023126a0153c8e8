import type { AttributeValue } from "@otel-audit/otlp";
import {
  ATTR_AUDIT_ACTION,
  ATTR_AUDIT_ACTOR_ID,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_EVENT_NAME,
  ATTR_AUDIT_TARGET_ID,
  ATTR_AUDIT_TARGET_TYPE,
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_SYSTEM_NAME,
  ATTR_FILE_PATH,
  ATTR_GEN_AI_AGENT_ID,
  ATTR_GEN_AI_TOOL_NAME,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_SERVICE_NAME,
  ATTR_URL_FULL,
  ATTR_URL_SCHEME,
  AUDIT_ACTION_VALUE_CREATE,
  AUDIT_ACTION_VALUE_DELETE,
  AUDIT_ACTION_VALUE_EXECUTE,
  AUDIT_ACTION_VALUE_READ,
  AUDIT_ACTION_VALUE_UPDATE,
  AUDIT_ACTION_VALUE_WRITE,
  AUDIT_ACTOR_TYPE_VALUE_AGENT,
  AUDIT_ACTOR_TYPE_VALUE_SERVICE,
  EVENT_DB_STATEMENT,
  EVENT_FILE_DELETE,
  EVENT_FILE_READ,
  EVENT_FILE_WRITE,
  EVENT_HTTP_REQUEST,
  EVENT_TOOL_CALL,
  type AuditAction,
  type AuditTargetType,
} from "@otel-audit/semantic-conventions";
import { isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";

/** Who sent a foreign span. */
export interface Sender {
  /** Id of the credential; empty without one. */
  readonly principal: string;
  /** Whether records made of its spans may say that this actor did it. */
  mayName(actorId: string, actorType: string): boolean;
}

export type Attributes = Readonly<Record<string, AttributeValue>>;

const SPAN_KIND_CLIENT = 3;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { "postgresql:": "5432", "mysql:": "3306" };

const HTTP_ACTIONS: Readonly<Record<string, AuditAction>> = {
  GET: AUDIT_ACTION_VALUE_READ,
  HEAD: AUDIT_ACTION_VALUE_READ,
  OPTIONS: AUDIT_ACTION_VALUE_READ,
  PUT: AUDIT_ACTION_VALUE_UPDATE,
  PATCH: AUDIT_ACTION_VALUE_UPDATE,
  DELETE: AUDIT_ACTION_VALUE_DELETE,
};

const DB_ACTIONS: Readonly<Record<string, AuditAction>> = {
  SELECT: AUDIT_ACTION_VALUE_READ,
  INSERT: AUDIT_ACTION_VALUE_WRITE,
  UPDATE: AUDIT_ACTION_VALUE_UPDATE,
  MERGE: AUDIT_ACTION_VALUE_UPDATE,
  DELETE: AUDIT_ACTION_VALUE_DELETE,
  TRUNCATE: AUDIT_ACTION_VALUE_DELETE,
  DROP: AUDIT_ACTION_VALUE_DELETE,
  CREATE: AUDIT_ACTION_VALUE_CREATE,
};

/** What a foreign span's name says a file operation does: official instrumentations name no operation elsewhere. */
const FILE_ACTIONS: readonly [RegExp, string, AuditAction][] = [
  [/\b(?:unlink|rm|rmdir)/i, EVENT_FILE_DELETE, AUDIT_ACTION_VALUE_DELETE],
  [/\b(?:write|append|truncate|copy|rename|mkdir|mkdtemp|link|symlink)/i, EVENT_FILE_WRITE, AUDIT_ACTION_VALUE_WRITE],
];

/** Event, action and target of a span of a tool call, an HTTP client, a database client or a file; undefined for others. */
export function deriveAction(attributes: Attributes, kind: number, spanName: string): Attributes | undefined {
  const tool = attributes[ATTR_GEN_AI_TOOL_NAME];
  if (tool !== undefined)
    return action(EVENT_TOOL_CALL, AUDIT_ACTION_VALUE_EXECUTE, "tool", `tool:${encodeURIComponent(text(tool))}`);
  if (kind === SPAN_KIND_CLIENT && attributes[ATTR_HTTP_REQUEST_METHOD] !== undefined) return httpRequest(attributes);
  if (kind === SPAN_KIND_CLIENT && attributes[ATTR_DB_SYSTEM_NAME] !== undefined) return databaseStatement(attributes);
  const path = attributes[ATTR_FILE_PATH];
  return typeof path === "string" && path !== "" ? fileAccess(path, spanName) : undefined;
}

/** The agent that a foreign span names, or else its service; nobody where its sender may not name that one. */
export function deriveActor(attributes: Attributes, resource: Attributes, sender: Sender): Attributes {
  const agent = attributes[ATTR_GEN_AI_AGENT_ID];
  const [id, type] =
    agent === undefined
      ? [`service:${text(resource[ATTR_SERVICE_NAME], "unknown")}`, AUDIT_ACTOR_TYPE_VALUE_SERVICE]
      : [text(agent), AUDIT_ACTOR_TYPE_VALUE_AGENT];
  return sender.mayName(id, type) ? { [ATTR_AUDIT_ACTOR_ID]: id, [ATTR_AUDIT_ACTOR_TYPE]: type } : {};
}

function action(event: string, what: AuditAction, targetType: AuditTargetType, targetId: string): Attributes {
  return {
    [ATTR_AUDIT_EVENT_NAME]: event,
    [ATTR_AUDIT_ACTION]: what,
    [ATTR_AUDIT_TARGET_TYPE]: targetType,
    [ATTR_AUDIT_TARGET_ID]: targetId,
  };
}

function httpRequest(attributes: Attributes): Attributes {
  const method = text(attributes[ATTR_HTTP_REQUEST_METHOD]).toUpperCase();
  const url =
    parseUrl(text(attributes[ATTR_URL_FULL])) ??
    parseUrl(`${text(attributes[ATTR_URL_SCHEME], "http")}://${authority(attributes)}/`);
  // The URL parser drops default ports; query, fragment and credentials never enter a record.
  const target = url ? `${url.protocol}//${url.host}${url.pathname}` : "http://unknown/";
  return action(EVENT_HTTP_REQUEST, HTTP_ACTIONS[method] ?? AUDIT_ACTION_VALUE_WRITE, "http.endpoint", target);
}

function databaseStatement(attributes: Attributes): Attributes {
  const operation = text(attributes[ATTR_DB_OPERATION_NAME]).toUpperCase().split(" ", 1)[0]!;
  const collection = attributes[ATTR_DB_COLLECTION_NAME];
  const url = parseUrl(`${text(attributes[ATTR_DB_SYSTEM_NAME])}://${authority(attributes)}`);
  const server = url
    ? `${url.protocol}//${url.port === DEFAULT_PORTS[url.protocol] ? url.hostname : url.host}`
    : "db://unknown";
  const target = [server, text(attributes[ATTR_DB_NAMESPACE]), qualified(server, text(collection))]
    .filter((part) => part !== "")
    .join("/");
  // An operation that is not named may do anything.
  return action(
    EVENT_DB_STATEMENT,
    DB_ACTIONS[operation] ?? AUDIT_ACTION_VALUE_EXECUTE,
    collection === undefined ? "database" : "database.table",
    target,
  );
}

/** As our own instrumentation writes a table of PostgreSQL without a schema. */
function qualified(server: string, collection: string): string {
  return collection === "" || collection.includes(".") || !server.startsWith("postgresql:")
    ? collection
    : `public.${collection}`;
}

function fileAccess(path: string, spanName: string): Attributes {
  const [, event, what] = FILE_ACTIONS.find(([pattern]) => pattern.test(spanName)) ?? [
    undefined,
    EVENT_FILE_READ,
    AUDIT_ACTION_VALUE_READ,
  ];
  // A relative path is relative to a directory of the producer, which nobody here knows; not to the collector's own.
  const target = isAbsolute(path) ? pathToFileURL(path).href : `file:${encodeURI(path)}`;
  return action(event, what, "file", target);
}

function authority(attributes: Attributes): string {
  const host = text(attributes[ATTR_SERVER_ADDRESS], "unknown").toLowerCase();
  const port = attributes[ATTR_SERVER_PORT];
  const bracketed = host.includes(":") ? `[${host}]` : host;
  return port === undefined ? bracketed : `${bracketed}:${text(port)}`;
}

/** An attribute as text: a list or a map, which no such attribute should be, as JSON. */
export function text(value: AttributeValue | undefined, otherwise = ""): string {
  if (value === undefined || value === null) return otherwise;
  if (typeof value !== "object") return String(value);
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner));
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
