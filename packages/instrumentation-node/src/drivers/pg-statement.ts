import {
  ATTR_AUDIT_DB_UNCLASSIFIED,
  ATTR_DB_COLLECTION_NAME,
  ATTR_DB_NAMESPACE,
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_SUMMARY,
  ATTR_DB_RESPONSE_RETURNED_ROWS,
  ATTR_DB_RESPONSE_STATUS_CODE,
  EVENT_DB_STATEMENT,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction } from "../audit.ts";
import { Memo } from "../memo.ts";
import type { SqlClassification } from "../sql/classification.ts";
import { type SearchPath, sqlTargets } from "../sql/targets.ts";
import { property } from "../unknown.ts";

/** A classified statement on a database as an audit action. */
export function describe(
  database: string,
  attributes: Readonly<Record<string, string | number>>,
  classification: SqlClassification,
  path: SearchPath,
): ObservedAction {
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
    targets: sqlTargets(classification, database, path),
    attributes: described,
    // For the number of rows.
    endRoom: 40,
    // The session hands it out again for the same statement.
    memo: new Memo(),
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
