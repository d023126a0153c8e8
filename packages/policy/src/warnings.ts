import { AUDIT_EVENT_NAMES } from "@otel-audit/semantic-conventions";
import { BUILTIN_NAMES } from "./builtin.ts";
import { covers, coversPattern, matchesNever, NAME_FIELDS } from "./covers.ts";
import { byTurn } from "./evaluate.ts";
import type { CompiledPolicy, CompiledRule, NameTerm } from "./model.ts";
import type { Path, Source } from "./source.ts";
import { formatPath } from "./source.ts";
import { suggest } from "./suggest.ts";
import type { ResourceKind } from "./resource-kind.ts";

export type PolicyWarningCode =
  /** No action can match the rule. */
  | "NEVER_MATCHES"
  /** Another rule decides every action that this one matches. */
  | "NEVER_DECIDES"
  /** No rule names the resource; it still gives records their `audit.target.name`. */
  | "UNUSED_RESOURCE"
  /** The pattern or resource changes nothing where it stands. */
  | "REDUNDANT"
  /** No event of ours has this name. */
  | "UNKNOWN_EVENT";

/** Something that is allowed but cannot be meant. */
export interface PolicyWarning {
  readonly code: PolicyWarningCode;
  /** 1-based. */
  readonly line: number;
  /** 1-based. */
  readonly column: number;
  readonly path: string;
  readonly message: string;
}

/** In the order of the document. */
export function findWarnings(source: Source, policy: CompiledPolicy): PolicyWarning[] {
  const warnings: PolicyWarning[] = [];
  const warn: Warn = (code, path, message) => {
    warnings.push({ code, ...source.place(path), path: formatPath(path), message });
  };
  for (const rule of policy.rules) {
    checkFields(rule, warn);
    checkEvent(policy, rule, warn);
  }
  checkOrder(policy, warn);
  checkResources(policy, warn);
  return warnings.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

type Warn = (code: PolicyWarningCode, path: Path, message: string) => void;

const FIELD_KEYS = {
  agent: "agent",
  actorChain: "actor_chain",
  onBehalfOf: "on_behalf_of",
  workflow: "workflow",
  tool: "tool",
  event: "event",
} as const;

function checkFields(rule: CompiledRule, warn: Warn): void {
  const path = pathOf(rule);
  if (rule.isDurable && rule.decision !== "allow") {
    const message = `rule "${rule.id}" is durable without saying so: every ${rule.decision} is`;
    warn("REDUNDANT", ["rules", rule.index, "durable"], message);
  }
  if (rule.match.actions === 0) {
    warn("NEVER_MATCHES", [...path, "action"], `rule "${rule.id}" can never match: it excludes every action`);
  }
  if (rule.match.actorTypes === 0) {
    warn("NEVER_MATCHES", [...path, "actor_type"], `rule "${rule.id}" can never match: it excludes every actor type`);
  }
  for (const field of NAME_FIELDS) {
    const term = rule.match[field];
    const where = [...path, FIELD_KEYS[field]];
    if (term !== undefined && matchesNever(term)) {
      warn("NEVER_MATCHES", where, `rule "${rule.id}" can never match: ${FIELD_KEYS[field]} excludes every value`);
    }
    if (term !== undefined) {
      checkPatterns(term, where, warn);
    }
  }
}

function checkPatterns({ patterns }: NameTerm, path: Path, warn: Warn): void {
  for (const [index, pattern] of patterns.entries()) {
    const other = patterns.find(
      (each, at) => at !== index && coversPattern(each, pattern) && (at < index || !coversPattern(pattern, each)),
    );
    if (other !== undefined) {
      warn("REDUNDANT", path, `${JSON.stringify(pattern.text)} is covered by ${JSON.stringify(other.text)} beside it`);
    }
  }
}

/** What an event's targets can be; events that are not here are never judged by their targets. */
const EVENT_KINDS: Readonly<Record<string, ResourceKind>> = {
  "http.request": "http",
  "db.statement": "db",
  "tool.call": "tool",
  "process.exec": "process",
  "connection.open": "socket",
};

const BUILTIN_KINDS: Readonly<Record<(typeof BUILTIN_NAMES)[number], readonly ResourceKind[]>> = {
  "@secrets": ["file"],
  "@metadata": ["http", "socket"],
  "@llm": ["http"],
  "@loopback": ["http", "socket"],
};

function checkEvent(policy: CompiledPolicy, rule: CompiledRule, warn: Warn): void {
  const { event, resource } = rule.match;
  if (event === undefined) {
    return;
  }
  const path = pathOf(rule);
  for (const pattern of event.patterns) {
    if (!AUDIT_EVENT_NAMES.some((name) => pattern.test(name))) {
      const help = suggest(pattern.text, AUDIT_EVENT_NAMES);
      warn("UNKNOWN_EVENT", [...path, "event"], `no event has the name ${JSON.stringify(pattern.text)}${help}`);
    }
  }
  const events = AUDIT_EVENT_NAMES.filter(
    (name) => event.patterns.some((pattern) => pattern.test(name)) !== event.isNegated,
  );
  const kinds = events.map((name) => (name.startsWith("file.") ? "file" : EVENT_KINDS[name]));
  if (resource === undefined || resource.isNegated || events.length === 0 || kinds.includes(undefined)) {
    return;
  }
  const apart = resource.indexes.filter((index) => !kindsOf(policy, index).some((kind) => kinds.includes(kind)));
  for (const index of apart) {
    const isAll = apart.length === resource.indexes.length && !resource.hasNone;
    const name = nameOf(policy, index);
    const what = `"${name}" is ${kindsOf(policy, index).join(" and ")}, never the target of ${events.join(", ")}`;
    const message = isAll ? `rule "${rule.id}" can never match: ${what}` : what;
    warn(isAll ? "NEVER_MATCHES" : "REDUNDANT", [...path, "resource"], message);
  }
}

function checkOrder(policy: CompiledPolicy, warn: Warn): void {
  const isClosed = policy.mode === "enforce" && policy.defaultDecision !== "allow";
  for (const rule of policy.rules) {
    const path = ["rules", rule.index];
    if (isClosed && rule.decision === "allow" && !rule.isEnforced) {
      const message = `rule "${rule.id}" never decides: in an enforcing document an allow that only observes opens nothing`;
      warn("NEVER_DECIDES", path, message);
      continue;
    }
    const other = policy.rules.find((each) => {
      // An allow that is enforced keeps the default away, whatever a rule that only observes says.
      const isNeeded = isClosed && rule.decision === "allow" && !each.isEnforced;
      return each !== rule && !isNeeded && rank(each) <= rank(rule) && isFirst(each, rule) && covers(each, rule);
    });
    if (other !== undefined) {
      const verb = other.decision === rule.decision ? "covers" : VERBS[other.decision];
      warn("NEVER_DECIDES", path, `rule "${rule.id}" never decides: rule "${other.id}" ${verb} everything it matches`);
    }
  }
}

const VERBS = { allow: "allows", deny: "denies", review: "asks to review" } as const;

/** The order in which rules are asked. */
function rank(rule: CompiledRule): number {
  if (rule.decision === "allow") {
    return rule.isEnforced ? 4 : 5;
  }
  return (rule.isEnforced ? 0 : 2) + (rule.decision === "deny" ? 0 : 1);
}

function isFirst(other: CompiledRule, rule: CompiledRule): boolean {
  return rank(other) < rank(rule) || byTurn(other, rule) < 0;
}

function checkResources(policy: CompiledPolicy, warn: Warn): void {
  const used = new Set(policy.rules.flatMap((rule) => rule.match.resource?.indexes ?? []));
  for (const [index, resource] of policy.resources.entries()) {
    if (!used.has(index)) {
      warn("UNUSED_RESOURCE", ["resources", resource.name], `no rule names the resource "${resource.name}"`);
    }
  }
}

function kindsOf(policy: CompiledPolicy, index: number): readonly ResourceKind[] {
  const resource = policy.resources[index];
  if (resource !== undefined) {
    return [...new Set(resource.patterns.map((pattern) => pattern.kind))];
  }
  const name = BUILTIN_NAMES[index - policy.resources.length];
  return name === undefined ? [] : BUILTIN_KINDS[name];
}

function nameOf(policy: CompiledPolicy, index: number): string {
  return policy.resources[index]?.name ?? BUILTIN_NAMES[index - policy.resources.length] ?? "";
}

function pathOf(rule: CompiledRule): Path {
  return ["rules", rule.index, rule.decision];
}
