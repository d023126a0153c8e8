import { AUDIT_EVENT_NAMES, EVENT_POLICY_LOADED, EVENT_PROCESS_START, EVENT_PROCESS_SUMMARY } from "@otel-audit/semantic-conventions";
import { printable } from "../output/table.ts";
import type { AuditRow } from "./query.ts";

/** Targets named in a line of the summary; the rest is counted. */
const NAMED_TARGETS = 4;
const CONTROL_EVENTS: ReadonlySet<string> = new Set([EVENT_POLICY_LOADED, EVENT_PROCESS_START, EVENT_PROCESS_SUMMARY]);

/** What one agent did, by kind of action. */
export interface AgentSummary {
  readonly agent: string;
  readonly onBehalfOf: readonly string[];
  readonly actions: readonly ActionSummary[];
}

export interface ActionSummary {
  readonly event: string;
  readonly action: string;
  readonly count: number;
  /** Distinct, most frequent first. */
  readonly targets: readonly string[];
}

export interface Summary {
  readonly records: number;
  readonly agents: readonly AgentSummary[];
  readonly denied: readonly AuditRow[];
  readonly toReview: readonly AuditRow[];
  readonly failed: readonly AuditRow[];
}

/** What the records of a run say, without the records about the audit itself. */
export function summarize(all: readonly AuditRow[]): Summary {
  const rows = all.filter((row) => !CONTROL_EVENTS.has(row.EventName));
  const agents = [...Map.groupBy(rows, (row) => row.ActorId || "unattributed")].map(([agent, own]) => ({
    agent,
    onBehalfOf: [...new Set(own.map((row) => row.OnBehalfOf).filter((id) => id !== ""))],
    actions: [...Map.groupBy(own, (row) => `${row.EventName} ${row.Action}`).values()].map(summarizeAction).toSorted(byEvent),
  }));
  return {
    records: rows.length,
    agents: agents.toSorted((a, b) => a.agent.localeCompare(b.agent)),
    denied: rows.filter((row) => row.Decision === "deny"),
    toReview: rows.filter((row) => row.Decision === "review"),
    failed: rows.filter((row) => row.Outcome === "failure" && !row.Blocked),
  };
}

/** The summary in plain language, a line each. */
export function describeSummary(summary: Summary): string[] {
  const lines: string[] = [];
  for (const { agent, onBehalfOf, actions } of summary.agents) {
    lines.push("", `  ${printable(agent)}${onBehalfOf.length > 0 ? ` (on behalf of ${onBehalfOf.map(printable).join(", ")})` : ""}`);
    for (const action of actions) lines.push(`    ${describeAction(action)}`);
  }
  const section = (title: string, rows: readonly AuditRow[], detail: (row: AuditRow) => string): void => {
    if (rows.length === 0) return;
    lines.push("", `  ${title}`);
    for (const row of rows.slice(0, 20)) lines.push(`    ${printable(row.Action.toLowerCase())} ${printable(row.TargetId)} (${printable(detail(row))})`);
    if (rows.length > 20) lines.push(`    and ${rows.length - 20} more`);
  };
  section("denied", summary.denied, (row) => `rule ${row.Rule}, ${row.Blocked ? "stopped" : "only observed"}`);
  section("to be reviewed", summary.toReview, (row) => `rule ${row.Rule}${row.Blocked ? ", stopped" : ""}`);
  section("failed", summary.failed, (row) => row.ErrorType || "unknown error");
  return lines;
}

const VERBS: Readonly<Record<string, string>> = {
  READ: "read",
  WRITE: "wrote",
  CREATE: "created",
  UPDATE: "changed",
  DELETE: "deleted",
  EXECUTE: "executed",
};

function describeAction({ event, action, count, targets }: ActionSummary): string {
  const named = targets.slice(0, NAMED_TARGETS).map(printable).join(", ");
  const more = targets.length > NAMED_TARGETS ? `, and ${targets.length - NAMED_TARGETS} more` : "";
  return `${(VERBS[action] ?? action.toLowerCase()).padEnd(8)} ${event.padEnd(13)} ${`${count}x`.padStart(5)}  ${named}${more}`;
}

function summarizeAction(rows: readonly AuditRow[]): ActionSummary {
  const targets = [...Map.groupBy(rows, (row) => row.TargetId)].toSorted(([, a], [, b]) => b.length - a.length);
  return { event: rows[0]!.EventName, action: rows[0]!.Action, count: rows.length, targets: targets.map(([target]) => target) };
}

function byEvent(a: ActionSummary, b: ActionSummary): number {
  const order = AUDIT_EVENT_NAMES as readonly string[];
  return order.indexOf(a.event) - order.indexOf(b.event) || a.action.localeCompare(b.action);
}


