import {
  ATTR_AUDIT_DB_UNCLASSIFIED,
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_SUMMARY,
  ATTR_DB_RESPONSE_RETURNED_ROWS,
  ATTR_DB_RESPONSE_STATUS_CODE,
  ATTR_DB_SYSTEM_NAME,
  ATTR_NETWORK_TRANSPORT,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  EVENT_DB_STATEMENT,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction } from "../audit.ts";
import type { SqlClassification } from "../sql/classification.ts";
import { type DatabaseAddress, databaseId, sqlTargets } from "../sql/targets.ts";
import { property } from "../unknown.ts";

/** What is known of a client. */
interface Connection {
  readonly id: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** What a classified statement is on this connection. */
  readonly actions: WeakMap<SqlClassification, ObservedAction>;
}

const connections = new WeakMap<object, Connection>();
/** Texts of named statements by client: pg runs them again by their name alone. */
const named = new WeakMap<object, Map<string, string>>();
const MAX_NAMES = 1000;

/** The SQL of a query's first argument; undefined when it has none. */
export function statementText(client: object, config: unknown): unknown {
  if (typeof config === "string") return config;
  // A query stream keeps its text in its cursor.
  const text = property(config, "text") ?? property(property(config, "cursor"), "text");
  const name = property(config, "name");
  if (typeof name !== "string" || name === "") return text;
  if (typeof text === "string") {
    remember(client, name, text);
    return text;
  }
  return named.get(client)?.get(name) ?? property(property(property(client, "connection"), "parsedStatements"), name);
}

function remember(client: object, name: string, text: string): void {
  let names = named.get(client);
  if (names === undefined) named.set(client, (names = new Map()));
  // A name is used for one text only; pg refuses another.
  if (names.size < MAX_NAMES && !names.has(name)) names.set(name, text);
}

/** The audit action of a statement on a client's connection. */
export function statementAction(client: object, classification: SqlClassification): ObservedAction {
  let connection = connections.get(client);
  if (connection === undefined) connections.set(client, (connection = connect(client)));
  let action = connection.actions.get(classification);
  if (action === undefined) connection.actions.set(classification, (action = describe(connection, classification)));
  return action;
}

function describe({ id, attributes }: Connection, classification: SqlClassification): ObservedAction {
  const { action, operations, tables, summary, unclassified } = classification;
  const operation = operations.length === 1 ? operations[0] : operations.find((name) => summary.startsWith(name));
  const names = new Set(tables.map(({ schema, name }) => (schema === undefined ? name : `${schema}.${name}`)));
  const described: Record<string, string | number> = { ...attributes };
  if (operation !== undefined) described[ATTR_DB_OPERATION_NAME] = operation;
  const [only, ...more] = names;
  if (only !== undefined && more.length === 0) described[ATTR_DB_COLLECTION_NAME] = only;
  if (summary !== "") described[ATTR_DB_QUERY_SUMMARY] = summary;
  if (unclassified !== undefined) described[ATTR_AUDIT_DB_UNCLASSIFIED] = unclassified;
  const namespace = attributes[ATTR_DB_NAMESPACE];
  return {
    event: EVENT_DB_STATEMENT,
    name: operation === undefined ? String(namespace) : `${operation} ${namespace}`,
    action,
    targets: sqlTargets(classification, id),
    attributes: described,
  };
}

function connect(client: object): Connection {
  const address = addressOf(client);
  const attributes: Record<string, string | number> = {
    [ATTR_DB_SYSTEM_NAME]: "postgresql",
    [ATTR_DB_NAMESPACE]: address.database,
    [ATTR_SERVER_ADDRESS]: address.host,
  };
  if (address.host.startsWith("/")) attributes[ATTR_NETWORK_TRANSPORT] = "unix";
  else if (address.port !== 5432) attributes[ATTR_SERVER_PORT] = address.port;
  return { id: databaseId(address), attributes, actions: new WeakMap() };
}

/** As `Client.prototype.connect` takes it; the parameters come from options, URL, environment and defaults. */
function addressOf(client: object): DatabaseAddress {
  const parameters = property(client, "connectionParameters");
  const field = (name: string): unknown => property(client, name) ?? property(parameters, name);
  const host = field("host");
  const port = Number(field("port"));
  const database = field("database");
  return {
    host: typeof host === "string" && host !== "" ? host : "localhost",
    port: Number.isInteger(port) && port > 0 ? port : 5432,
    database: typeof database === "string" ? database : "",
  };
}

/** How many rows a SELECT gave; undefined where pg does not say. */
export function resultAttributes(query: unknown): Record<string, number> | undefined {
  const result = property(query, "_result");
  const rows = property(result, "rowCount");
  return property(result, "command") === "SELECT" && typeof rows === "number"
    ? { [ATTR_DB_RESPONSE_RETURNED_ROWS]: rows }
    : undefined;
}

/** The SQLSTATE of an error that the server sent. */
export function errorAttributes(error: unknown): Record<string, string> | undefined {
  const code = property(error, "code");
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && property(error, "severity") !== undefined
    ? { [ATTR_DB_RESPONSE_STATUS_CODE]: code }
    : undefined;
}
