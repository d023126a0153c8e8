import {
  AUDIT_EVENT_NAMES,
  CONTROL_EVENT_NAMES,
  EVENT_AUDIT_BYPASS,
  EVENT_PROCESS_START,
} from "@otel-audit/semantic-conventions";
import { UNATTRIBUTED } from "./filter.ts";
import type { ActionGroup } from "./query.ts";

/** What one agent did, by kind of action. */
export interface AgentSummary {
  /** `unattributed` when nobody was named. */
  readonly agent: string;
  readonly onBehalfOf: readonly string[];
  readonly actions: readonly ActionSummary[];
}

export interface ActionSummary {
  readonly event: string;
  readonly action: string;
  readonly count: number;
  /** Most frequent first. */
  readonly targets: readonly TargetSummary[];
}

export interface TargetSummary {
  readonly id: string;
  readonly count: number;
  /** So many of them failed. */
  readonly failed: number;
  /** How: `ENOENT`, `404`. */
  readonly errors: readonly string[];
}

export interface Summary {
  /** Actions, without the records about the audit itself. */
  readonly actions: number;
  /** Processes in which the audit started. */
  readonly processes: number;
  /** What was done or tried; what the policy stopped is in `denied` and `toReview` only. */
  readonly agents: readonly AgentSummary[];
  readonly denied: readonly ActionGroup[];
  readonly toReview: readonly ActionGroup[];
  readonly failed: readonly ActionGroup[];
  /** Outcome unknown: begun, and its end was never seen. */
  readonly unfinished: readonly ActionGroup[];
  /** What may have gone past the audit. */
  readonly bypasses: readonly ActionGroup[];
}

/** What the records of a run say. */
export function summarize(groups: readonly ActionGroup[]): Summary {
  const actions = groups.filter((group) => !CONTROL_EVENT_NAMES.has(group.EventName));
  const done = actions.filter((group) => !group.Blocked);
  const of = (event: string): ActionGroup[] => groups.filter((group) => group.EventName === event);
  return {
    actions: total(actions),
    processes: total(of(EVENT_PROCESS_START)),
    agents: [...Map.groupBy(done, (group) => group.ActorId || UNATTRIBUTED)]
      .map(([agent, own]) => summarizeAgent(agent, own))
      .toSorted((a, b) => compareText(a.agent, b.agent)),
    denied: actions.filter((group) => group.Decision === "deny"),
    toReview: actions.filter((group) => group.Decision === "review"),
    failed: done.filter((group) => group.Outcome === "failure"),
    unfinished: actions.filter((group) => group.Outcome === "unknown"),
    bypasses: of(EVENT_AUDIT_BYPASS),
  };
}

function summarizeAgent(agent: string, groups: readonly ActionGroup[]): AgentSummary {
  return {
    agent,
    onBehalfOf: [...new Set(groups.map((group) => group.OnBehalfOf).filter((id) => id !== ""))].toSorted(compareText),
    actions: [...Map.groupBy(groups, (group) => `${group.EventName} ${group.Action}`).values()]
      .map(summarizeAction)
      .toSorted((a, b) => eventOrder(a.event) - eventOrder(b.event) || compareText(a.action, b.action)),
  };
}

function summarizeAction(groups: readonly ActionGroup[]): ActionSummary {
  const targets = [...Map.groupBy(groups, (group) => group.TargetId)].map(([id, own]) => summarizeTarget(id, own));
  return {
    event: groups[0]!.EventName,
    action: groups[0]!.Action,
    count: total(groups),
    targets: targets.toSorted((a, b) => b.count - a.count || compareText(a.id, b.id)),
  };
}

function summarizeTarget(id: string, groups: readonly ActionGroup[]): TargetSummary {
  const failed = groups.filter((group) => group.Outcome === "failure");
  const errors = [...new Set(failed.map((group) => group.ErrorType || "unknown error"))].toSorted(compareText);
  return { id, count: total(groups), failed: total(failed), errors };
}

/** In the order of the vocabulary; what is not in it comes last. */
function eventOrder(event: string): number {
  const names: readonly string[] = AUDIT_EVENT_NAMES;
  const at = names.indexOf(event);
  return at < 0 ? names.length : at;
}

function total(groups: readonly ActionGroup[]): number {
  return groups.reduce((sum, group) => sum + group.Count, 0);
}

/** The same on every machine, unlike localeCompare. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
