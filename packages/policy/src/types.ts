import type {
  AuditAction,
  AuditActorType,
  AuditPolicyDecision,
  AuditPolicyEnforcement,
  AuditTargetType,
} from "@otel-audit/semantic-conventions";

/** Whether a verdict only stands in the record (`observe`) or stops the action (`enforce`). */
export type PolicyMode = "observe" | "enforce";

/** One thing that an action touches. */
export interface PolicyTarget {
  readonly type: AuditTargetType;
  /** Canonical id, see "Target ids" in the README. At most 8,192 characters; longer is a `policy_error`. */
  readonly id: string;
  readonly access?: "read" | "write" | undefined;
  /**
   * Of a file: a directory with all that is in it. A deny or review of something below matches, unless its pattern starts
   * with `**` (such names stay protected wherever they go); an allow has to take everything below.
   */
  readonly recursive?: boolean | undefined;
}

/** An action to be judged. Empty strings count as absent. */
export interface PolicyAction {
  /** `audit.event.name`, e.g. `http.request`. */
  readonly event: string;
  readonly action: AuditAction;
  /** At most 1,000; more is a `policy_error`. */
  readonly targets: readonly PolicyTarget[];
  /** `audit.actor.id`; `agent:refunds` and `refunds` are the same agent. */
  readonly actorId: string;
  readonly actorType: AuditActorType;
  /** Agents that led to this actor, root first. */
  readonly actorChain?: readonly string[] | undefined;
  readonly onBehalfOf?: string | undefined;
  readonly workflow?: string | undefined;
  readonly tool?: string | undefined;
}

/** What the policy says about one action. */
export interface Verdict {
  readonly decision: AuditPolicyDecision;
  /** `enforced`: a deny or review stops the action. `observed`: it is only recorded. */
  readonly enforcement: AuditPolicyEnforcement;
  readonly policyId: string;
  /** `sha256:` and 64 hex digits; empty without a policy. */
  readonly policyVersion: string;
  /** The deciding rule, `default` when no rule matched, `policy_error` when the policy could not be evaluated. */
  readonly ruleId: string;
  readonly reason: string;
  /** Resource name of the first target: the first of the document that matches, else a built-in (`llm:anthropic`). */
  readonly targetName?: string | undefined;
  /** The action after a resource's `action:`. */
  readonly action: AuditAction;
  /** The record has to be on the disk, not only in the system's cache: every deny and review, and what a rule marks so. */
  readonly durable?: boolean | undefined;
}

/** What judges actions: a {@link Policy}, or {@link NO_POLICY}. */
export interface PolicyEvaluator {
  readonly id: string;
  readonly version: string;
  readonly mode: PolicyMode;
  /** Never throws: what cannot be judged is denied by `policy_error`. Equal actions may get the same, frozen verdict. */
  evaluate(action: PolicyAction): Verdict;
}
