import { DEFAULT_DATABASE } from "@otel-audit/exporter-clickhouse";
import { CliError } from "../errors.ts";
import { conditions, type RecordFilter } from "./filter.ts";

/** Columns of a record as a person asks for it, and how the table has them, in the order in which they are shown. */
const COLUMNS = {
  Timestamp: "Timestamp",
  ActorId: "ActorId",
  AgentName: "AgentName",
  OnBehalfOf: "OnBehalfOf",
  WorkflowName: "WorkflowName",
  WorkflowId: "WorkflowId",
  ToolName: "ToolName",
  EventName: "EventName",
  Action: "Action",
  TargetType: "TargetType",
  TargetId: "TargetId",
  TargetName: "TargetName",
  Outcome: "Outcome",
  ErrorType: "ErrorType",
  Decision: "EffectiveDecision",
  Enforcement: "PolicyEnforcement",
  Rule: "if(CollectorDecision = '', PolicyRule, CollectorPolicyRule)",
  Reason: "if(CollectorDecision = '', PolicyReason, CollectorPolicyReason)",
  Blocked: "Blocked",
  Violation: "Violation",
  Origin: "Origin",
  Provenance: "Provenance",
  TraceId: "TraceId",
  SpanId: "SpanId",
  RecordId: "RecordId",
} as const;

/** One record as `recordsQuery` gives it in JSONEachRow. */
export type AuditRow = {
  readonly [Name in keyof typeof COLUMNS]: Name extends "Blocked" | "Violation" ? boolean : string;
};

/** The names of a record's fields, in the order in which they are shown. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Object.keys forgets the names
export const FIELDS = Object.keys(COLUMNS) as readonly (keyof AuditRow)[];

export interface AuditQuery {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/**
 * The newest `limit` records that fit the filter, oldest first. Copies of a record that came over several collectors
 * are shown once, so there may be fewer; a second record with the same id but other content is shown too.
 *
 * Times are text in UTC (`2026-11-21T10:00:00.123456789Z`), so that the server's time zone cannot change them.
 *
 * @throws CliError `USAGE`
 */
export function recordsQuery(filter: RecordFilter, limit: number, database: string = DEFAULT_DATABASE): AuditQuery {
  const { sql, params } = conditions(filter);
  const inner = FIELDS.map((name) => (COLUMNS[name] === name ? name : `${COLUMNS[name]} AS ${name}`));
  const outer = FIELDS.filter((name) => name !== "Timestamp");
  return {
    sql: [
      "SELECT",
      "  concat(replaceOne(toString(Timestamp, 'UTC'), ' ', 'T'), 'Z') AS Timestamp,",
      `  ${outer.join(", ")}`,
      "FROM (",
      `  SELECT ${inner.join(", ")},`,
      "    StreamId, Sequence, Principal, ContentHash",
      `  FROM ${databaseName(database)}.audit_events`,
      `  WHERE ${sql}`,
      // The newest by the collector's clock: a producer that claims the year 2200 must not push the others out. LIMIT BY in
      // here would sort the whole table instead of keeping the newest rows only.
      "  ORDER BY ReceivedAt DESC, StreamId DESC, Sequence DESC",
      `  LIMIT ${limit}`,
      ")",
      "ORDER BY Timestamp, StreamId, Sequence",
      "LIMIT 1 BY Principal, RecordId, ContentHash",
    ].join("\n"),
    params,
  };
}

/** What `groupsQuery` groups by: actions that a summary need not tell apart. */
const GROUP_FIELDS = [
  "ActorId",
  "OnBehalfOf",
  "EventName",
  "Action",
  "TargetId",
  "Outcome",
  "ErrorType",
  "Decision",
  "Rule",
  "Blocked",
] as const;

/** Actions of one kind on one target, as `groupsQuery` gives them. */
export interface ActionGroup extends Pick<AuditRow, (typeof GROUP_FIELDS)[number]> {
  readonly Count: number;
}

/** How often which action happened, for a summary: its size grows with what was touched, not with how often. */
export function groupsQuery(filter: RecordFilter, limit: number, database: string = DEFAULT_DATABASE): AuditQuery {
  const { sql, params } = conditions(filter);
  const fields = GROUP_FIELDS.map((name) => (COLUMNS[name] === name ? name : `${COLUMNS[name]} AS ${name}`));
  return {
    sql: [
      // 64-bit numbers would come as text.
      `SELECT ${fields.join(", ")}, toUInt32(count()) AS Count`,
      `FROM ${databaseName(database)}.audit_events`,
      `WHERE ${sql}`,
      `GROUP BY ${GROUP_FIELDS.join(", ")}`,
      "ORDER BY min(Timestamp)",
      `LIMIT ${limit}`,
    ].join("\n"),
    params,
  };
}

/** What there is to filter by, for a person whose filter matched nothing. */
export function knownNamesQuery(database: string = DEFAULT_DATABASE): AuditQuery {
  const table = `${databaseName(database)}.audit_events`;
  const names = (kind: string, column: string): string =>
    `SELECT * FROM (SELECT '${kind}' AS Kind, toString(${column}) AS Name FROM ${table} WHERE ${column} != '' GROUP BY Name ORDER BY count() DESC, Name LIMIT 10)`;
  return { sql: [names("agent", "ActorId"), names("workflow", "WorkflowName")].join("\nUNION ALL\n"), params: {} };
}

/** The statement with its values written in, to paste into any client. */
export function inlineParams({ sql, params }: AuditQuery): string {
  // One pass: a value that looks like a parameter is not one.
  return sql.replaceAll(/\{(\w+):String\}/g, (_, name: string) => sqlString(params[name]!));
}

const ESCAPES: Readonly<Record<string, string>> = { "\n": String.raw`\n`, "\r": String.raw`\r`, "\t": String.raw`\t` };

/** A literal of ClickHouse's. */
function sqlString(text: string): string {
  const escaped = text
    .replaceAll(/['\\]/g, String.raw`\$&`)
    .replaceAll(/\p{Cc}/gu, (control) => ESCAPES[control] ?? utf8Escape(control));
  return `'${escaped}'`;
}

/** ClickHouse's `\xHH` is a byte, not a character. */
function utf8Escape(character: string): string {
  return Array.from(Buffer.from(character), (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

/** @throws CliError `USAGE` */
export function databaseName(name: string): string {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(name)) {
    throw new CliError(
      "USAGE",
      `--database: ${JSON.stringify(name)} is not a name; 1 to 128 letters, digits, "_" or "-" are allowed`,
    );
  }
  return /^[A-Za-z_]\w*$/.test(name) ? name : `\`${name}\``;
}
