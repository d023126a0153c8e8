import { conditions, type RecordFilter } from "./filter.ts";

/** Columns of a record as a person asks for it, in the order in which they are shown. */
const COLUMNS = [
  "Timestamp",
  "ActorId",
  "OnBehalfOf",
  "WorkflowName",
  "WorkflowId",
  "EventName",
  "Action",
  "TargetId",
  "TargetName",
  "Outcome",
  "ErrorType",
  "EffectiveDecision AS Decision",
  "PolicyEnforcement",
  "if(CollectorDecision = '', PolicyRule, CollectorPolicyRule) AS Rule",
  "Blocked",
  "Violation",
  "Origin",
  "Provenance",
  "TraceId",
  "RecordId",
];

export interface AuditQuery {
  readonly sql: string;
  readonly params: Readonly<Record<string, string>>;
}

/** The newest `limit` records that fit the filter, oldest first. */
export function recordsQuery(filter: RecordFilter, limit: number, database = "otel_audit"): AuditQuery {
  const { sql, params } = conditions(filter);
  return {
    sql: [
      "SELECT * FROM (",
      `  SELECT ${COLUMNS.join(", ")}`,
      `  FROM ${database}.audit_events`,
      `  WHERE ${sql}`,
      `  ORDER BY Timestamp DESC, Sequence DESC`,
      `  LIMIT ${limit}`,
      ") ORDER BY Timestamp ASC",
    ].join("\n"),
    params,
  };
}

/** The statement with its values written in, to paste into any client. */
export function inlineParams({ sql, params }: AuditQuery): string {
  return sql.replaceAll(/\{(\w+):String\}/g, (_, name: string) => `'${params[name]!.replaceAll(/['\\]/g, String.raw`\$&`)}'`);
}

/** One row of `recordsQuery` in JSONEachRow. */
export interface AuditRow {
  readonly Timestamp: string;
  readonly ActorId: string;
  readonly OnBehalfOf: string;
  readonly WorkflowName: string;
  readonly WorkflowId: string;
  readonly EventName: string;
  readonly Action: string;
  readonly TargetId: string;
  readonly TargetName: string;
  readonly Outcome: string;
  readonly ErrorType: string;
  readonly Decision: string;
  readonly PolicyEnforcement: string;
  readonly Rule: string;
  readonly Blocked: 0 | 1 | boolean;
  readonly Violation: 0 | 1 | boolean;
  readonly Origin: string;
  readonly Provenance: string;
  readonly TraceId: string;
  readonly RecordId: string;
}
