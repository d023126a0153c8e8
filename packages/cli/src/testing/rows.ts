import type { ActionGroup, AuditRow } from "../records/query.ts";

/** A record as a query gives it: an allowed read of a file, unless told otherwise. */
export function auditRow(row: Partial<AuditRow> = {}): AuditRow {
  return {
    Timestamp: "2026-11-21T10:00:00.123456789Z",
    ActorId: "refunds",
    AgentName: "",
    OnBehalfOf: "user:4711",
    WorkflowName: "refund",
    WorkflowId: "wf-1",
    ToolName: "",
    EventName: "file.read",
    Action: "READ",
    TargetType: "file",
    TargetId: "file:///srv/kb/limits.md",
    TargetName: "kb",
    Outcome: "success",
    ErrorType: "",
    Decision: "allow",
    Enforcement: "observed",
    Rule: "lookup",
    Reason: "rule lookup allows it",
    Blocked: false,
    Violation: false,
    Origin: "effect",
    Provenance: "asserted",
    TraceId: "0af7651916cd43dd8448eb211c80319c",
    SpanId: "b7ad6b7169203331",
    RecordId: "01J0000000000000000000000",
    ...row,
  };
}

/** The same as a group of one record. */
export function actionGroup(group: Partial<ActionGroup> = {}): ActionGroup {
  const { ActorId, OnBehalfOf, EventName, Action, TargetId, Outcome, ErrorType, Decision, Rule, Blocked } = auditRow();
  return {
    ActorId,
    OnBehalfOf,
    EventName,
    Action,
    TargetId,
    Outcome,
    ErrorType,
    Decision,
    Rule,
    Blocked,
    Count: 1,
    ...group,
  };
}
