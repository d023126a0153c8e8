import type { AuditRow } from "./records.ts";

/** One record as the demo expects it: agent, event, action, end of the target, outcome, decision, rule, stopped. */
export type Expected = readonly [
  agent: string,
  event: string,
  action: string,
  target: string,
  outcome: string,
  decision: string,
  rule: string,
  blocked?: "stopped",
];

/** Every record that the workflow of agents.ts leads to, and no other. */
export const EXPECTED: readonly Expected[] = [
  // A tool call is recorded on both sides, by the agent and by the server that does it.
  ["support", "tool.call", "EXECUTE", "/read_text_file", "success", "allow", "tools"],
  ["support", "tool.call", "EXECUTE", "/read_text_file", "success", "allow", "tools"],
  ["support", "file.read", "READ", "/kb/refund-policy.md", "success", "allow", "lookup"],
  ["support", "db.statement", "READ", "/postgres/public.orders", "success", "allow", "lookup"],
  ["support", "tool.call", "EXECUTE", "/write_file", "success", "allow", "tools"],
  ["support", "tool.call", "EXECUTE", "/write_file", "success", "allow", "tools"],
  // The server lists the folder to look for names that differ in their Unicode form only, then writes.
  ["support", "file.list", "READ", "/work", "success", "allow", "workspace"],
  ["support", "file.create", "CREATE", "/work/case-1001.md", "success", "allow", "workspace"],
  ["refunds", "tool.call", "EXECUTE", "/read_text_file", "success", "allow", "tools"],
  ["refunds", "tool.call", "EXECUTE", "/read_text_file", "success", "allow", "tools"],
  ["refunds", "file.read", "READ", "/kb/limits.md", "success", "allow", "lookup"],
  ["refunds", "http.request", "WRITE", "/v1/refunds", "success", "review", "person-approves"],
  ["refunds", "db.statement", "UPDATE", "/postgres/public.orders", "success", "allow", "mark-refunded"],
  [
    "refunds",
    "db.statement",
    "UPDATE",
    "/postgres/public.cards",
    "failure policy_denied",
    "deny",
    "no-cards",
    "stopped",
  ],
  ["refunds", "http.request", "READ", "/v1/refunds/9999", "failure 404", "allow", "lookup"],
  ["refunds", "file.read", "READ", "/kb/escalation.md", "failure ENOENT", "allow", "lookup"],
];

/** What is missing and what is too much, a line each; none: the table holds exactly what is expected. */
export function differences(rows: readonly AuditRow[], expected: readonly Expected[] = EXPECTED): string[] {
  const left = [...expected];
  const unexpected: string[] = [];
  for (const row of rows) {
    const at = left.findIndex((record) => matches(row, record));
    if (at < 0) unexpected.push(`unexpected: ${describe(row)}`);
    else left.splice(at, 1);
  }
  return [...left.map((record) => `missing:    ${record.join(" ")}`), ...unexpected];
}

function matches(row: AuditRow, [agent, event, action, target, outcome, decision, rule, blocked]: Expected): boolean {
  return (
    row.ActorId === agent &&
    row.EventName === event &&
    row.Action === action &&
    row.TargetId.endsWith(target) &&
    `${row.Outcome} ${row.ErrorType}`.trim() === outcome &&
    row.Decision === decision &&
    row.Rule === rule &&
    row.Blocked === (blocked === "stopped") &&
    row.OnBehalfOf === "user:4711"
  );
}

function describe(row: AuditRow): string {
  return [
    row.ActorId,
    row.EventName,
    row.Action,
    row.TargetId,
    row.Outcome,
    row.ErrorType,
    row.Decision,
    row.Rule,
    row.Blocked ? "stopped" : "",
  ]
    .join(" ")
    .trim();
}
