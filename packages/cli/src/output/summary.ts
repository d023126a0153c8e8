import type { ActionGroup } from "../records/query.ts";
import type { ActionSummary, AgentSummary, Summary, TargetSummary } from "../records/summary.ts";
import { printable } from "./text.ts";

/** Named one by one; the rest is counted. */
const NAMED_TARGETS = 5;
const NAMED_ACTIONS = 20;

/** What an agent did to what, by event: a READ of a file, an http.request that is a READ. */
const VERBS: Readonly<Record<string, string>> = {
  READ: "read",
  WRITE: "wrote",
  CREATE: "created",
  UPDATE: "changed",
  DELETE: "deleted",
  EXECUTE: "executed",
};
const HTTP_VERBS: Readonly<Record<string, string>> = {
  READ: "fetched from",
  WRITE: "sent to",
  CREATE: "created at",
  UPDATE: "changed at",
  DELETE: "deleted at",
  EXECUTE: "executed at",
};
const NOUNS: Readonly<Record<string, readonly [one: string, many: string]>> = {
  "http.request": ["address", "addresses"],
  "db.statement": ["table", "tables"],
  "file.list": ["folder", "folders"],
  "tool.call": ["tool", "tools"],
  "process.exec": ["program", "programs"],
  "connection.open": ["connection", "connections"],
};

/** A summary in plain language, a line each, indented by two. */
export function summaryLines(summary: Summary): string[] {
  return [
    ...summary.agents.flatMap(agentLines),
    ...section("denied", summary.denied, (group) => `${group.Blocked ? "stopped" : "not stopped"}, ${rule(group)}`),
    ...section("to be reviewed", summary.toReview, (group) => `${group.Blocked ? "stopped, " : ""}${rule(group)}`),
    ...section("begun, and never seen to end", summary.unfinished, () => "outcome unknown"),
    ...section("may have gone past the audit", summary.bypasses, (group) => group.ErrorType || group.Outcome),
  ];
}

function agentLines({ agent, onBehalfOf, actions }: AgentSummary): string[] {
  const principal = onBehalfOf.length === 0 ? "" : `, on behalf of ${onBehalfOf.map(printable).join(", ")}`;
  return ["", `  ${printable(agent)}${principal}`, ...actions.flatMap(actionLines)];
}

function actionLines({ event, action, count, targets }: ActionSummary): string[] {
  const [one, many] = NOUNS[event] ?? (event.startsWith("file.") ? ["file", "files"] : ["target", "targets"]);
  const times = count === targets.length ? "" : `, ${count} times`;
  const named = targets.slice(0, NAMED_TARGETS).map((target) => `      ${targetText(target)}`);
  const more = targets.length > NAMED_TARGETS ? [`      and ${targets.length - NAMED_TARGETS} more`] : [];
  return [
    `    ${verb(event, action)} ${targets.length} ${targets.length === 1 ? one : many}${times}`,
    ...named,
    ...more,
  ];
}

function targetText({ id, count, failed, errors }: TargetSummary): string {
  if (failed === 0) return printable(id);
  const how = `failed: ${errors.map(printable).join(", ")}`;
  return `${printable(id)} (${failed === count ? how : `${failed} of ${count} ${how}`})`;
}

function section(title: string, groups: readonly ActionGroup[], detail: (group: ActionGroup) => string): string[] {
  if (groups.length === 0) return [];
  const named = groups.slice(0, NAMED_ACTIONS).map((group) => {
    const times = group.Count === 1 ? "" : `, ${group.Count} times`;
    const who = printable(group.ActorId || "nobody named");
    return `    ${who}: ${printable(group.Action)} ${printable(group.TargetId)}${times} (${printable(detail(group))})`;
  });
  const more = groups.length > NAMED_ACTIONS ? [`    and ${groups.length - NAMED_ACTIONS} more`] : [];
  return ["", `  ${title}`, ...named, ...more];
}

function verb(event: string, action: string): string {
  const verbs = event === "http.request" ? HTTP_VERBS : VERBS;
  return event === "tool.call" ? "called" : (verbs[action] ?? printable(action));
}

function rule(group: ActionGroup): string {
  return group.Rule === "default" ? "no rule allows it" : `rule ${group.Rule}`;
}
