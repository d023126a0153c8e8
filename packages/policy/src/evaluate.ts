import type { AuditPolicyDecision } from "@otel-audit/semantic-conventions";
import { Facts, withoutAgentPrefix } from "./facts.ts";
import type { CompiledPolicy, CompiledRule, NameTerm } from "./model.ts";
import type { PolicyAction, Verdict } from "./types.ts";

/** Judges actions by one compiled document. */
export class Evaluator {
  readonly #policy: CompiledPolicy;
  readonly #facts: Facts;
  readonly #stops: readonly (readonly CompiledRule[])[];
  readonly #trials: readonly (readonly CompiledRule[])[];
  readonly #enforcedAllows: readonly CompiledRule[];
  readonly #observedAllows: readonly CompiledRule[];

  constructor(policy: CompiledPolicy) {
    this.#policy = policy;
    this.#facts = new Facts(policy.resources);
    const ruled = (decision: AuditPolicyDecision, isEnforced: boolean): CompiledRule[] =>
      policy.rules.filter((rule) => rule.decision === decision && rule.isEnforced === isEnforced).toSorted(byTurn);
    this.#stops = [ruled("deny", true), ruled("review", true)];
    this.#trials = [ruled("deny", false), ruled("review", false)];
    this.#enforcedAllows = ruled("allow", true);
    this.#observedAllows = ruled("allow", false);
  }

  /** Throws whatever goes wrong. */
  judge(action: PolicyAction): Verdict {
    this.#facts.read(action);
    const stop = this.#firstOf(this.#stops, action);
    if (stop !== undefined) {
      return this.#verdict(stop.decision, true, stop.id, stop.reason, true);
    }
    const { defaultDecision, mode } = this.#policy;
    const isEnforced = mode === "enforce";
    const enforcedAllow = this.#first(this.#enforcedAllows, action);
    if (isEnforced && enforcedAllow === undefined && defaultDecision !== "allow") {
      // A rule that only observes cannot open what is closed without it.
      return this.#default(isEnforced);
    }
    const other = this.#firstOf(this.#trials, action) ?? enforcedAllow ?? this.#first(this.#observedAllows, action);
    return other === undefined
      ? this.#default(isEnforced)
      : this.#verdict(other.decision, other.isEnforced, other.id, other.reason, other.isDurable);
  }

  #default(isEnforced: boolean): Verdict {
    const { defaultDecision } = this.#policy;
    const reason = `no rule matched, the default is ${defaultDecision}`;
    return this.#verdict(defaultDecision, isEnforced, "default", reason, false);
  }

  #verdict(
    decision: AuditPolicyDecision,
    isEnforced: boolean,
    ruleId: string,
    reason: string,
    isDurable: boolean,
  ): Verdict {
    return {
      decision,
      enforcement: isEnforced ? "enforced" : "observed",
      policyId: this.#policy.id,
      policyVersion: this.#policy.version,
      ruleId,
      reason,
      targetName: this.#facts.targetName,
      action: this.#facts.action,
      durable: isDurable || decision !== "allow",
    };
  }

  #firstOf(groups: readonly (readonly CompiledRule[])[], action: PolicyAction): CompiledRule | undefined {
    for (const rules of groups) {
      const rule = this.#first(rules, action);
      if (rule !== undefined) {
        return rule;
      }
    }
    return undefined;
  }

  #first(rules: readonly CompiledRule[], action: PolicyAction): CompiledRule | undefined {
    for (const rule of rules) {
      if (this.#matches(rule, action)) {
        return rule;
      }
    }
    return undefined;
  }

  #matches(rule: CompiledRule, action: PolicyAction): boolean {
    const { match } = rule;
    return (
      (match.actorTypes & this.#facts.actorType) !== 0 &&
      (match.event === undefined || matchesName(match.event, action.event)) &&
      (match.agent === undefined || this.#matchesAgent(match.agent)) &&
      (match.onBehalfOf === undefined || matchesName(match.onBehalfOf, action.onBehalfOf)) &&
      (match.workflow === undefined || matchesName(match.workflow, action.workflow)) &&
      (match.tool === undefined || matchesName(match.tool, action.tool)) &&
      (match.actorChain === undefined || matchesChain(match.actorChain, action.actorChain)) &&
      (rule.decision === "allow"
        ? this.#facts.staysWithin(match.actions, match.resource)
        : this.#facts.hasTarget(match.actions, match.resource))
    );
  }

  #matchesAgent(term: NameTerm): boolean {
    if (this.#facts.agent === "") {
      return term.hasNone !== term.isNegated;
    }
    return matchesActor(term, this.#facts.agent, this.#facts.isAgent) !== term.isNegated;
  }
}

/** What is marked durable is durable, whatever else matches. */
export function byTurn(a: CompiledRule, b: CompiledRule): number {
  return a.isDurable === b.isDurable ? (a.id < b.id ? -1 : 1) : a.isDurable ? -1 : 1;
}

function matchesName(term: NameTerm, value: string | undefined): boolean {
  if (value === undefined || value === "") {
    return term.hasNone !== term.isNegated;
  }
  for (const pattern of term.patterns) {
    if (pattern.test(value)) {
      return !term.isNegated;
    }
  }
  return term.isNegated;
}

function matchesActor(term: NameTerm, name: string, isAgent: boolean): boolean {
  for (const pattern of term.patterns) {
    if ((isAgent || !pattern.isAgent) && pattern.test(name)) {
      return true;
    }
  }
  return false;
}

function matchesChain(term: NameTerm, chain: readonly string[] | undefined): boolean {
  if (chain === undefined || chain.length === 0) {
    return term.hasNone !== term.isNegated;
  }
  return chain.some((id) => matchesActor(term, withoutAgentPrefix(id), true)) !== term.isNegated;
}
