import { type AttributeValue, encodeAttribute } from "@otel-audit/otlp/encoding";
import type { Verdict } from "@otel-audit/policy";
import {
  ATTR_AUDIT_ACTOR_CHAIN,
  ATTR_AUDIT_ACTOR_CLAIMED,
  ATTR_AUDIT_ACTOR_CREDENTIAL_ID,
  ATTR_AUDIT_ACTOR_ID,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_ON_BEHALF_OF_ID,
  ATTR_AUDIT_ON_BEHALF_OF_TYPE,
  ATTR_AUDIT_POLICY_DECISION,
  ATTR_AUDIT_POLICY_ENFORCEMENT,
  ATTR_AUDIT_POLICY_ID,
  ATTR_AUDIT_POLICY_REASON,
  ATTR_AUDIT_POLICY_RULE_ID,
  ATTR_AUDIT_POLICY_VERSION,
  ATTR_AUDIT_TARGET_NAME,
  ATTR_AUDIT_WORKFLOW_ID,
  ATTR_GEN_AI_AGENT_NAME,
  ATTR_GEN_AI_AGENT_VERSION,
  ATTR_GEN_AI_CONVERSATION_ID,
  ATTR_GEN_AI_WORKFLOW_NAME,
} from "@otel-audit/semantic-conventions";

import type { Actor } from "./identity.ts";

/** Who acted. */
export function actorAttributes(actor: Actor): Uint8Array {
  return attributes({
    [ATTR_AUDIT_ACTOR_ID]: actor.id,
    [ATTR_AUDIT_ACTOR_TYPE]: actor.type,
    [ATTR_AUDIT_ACTOR_CHAIN]: actor.chain.length > 0 ? actor.chain : undefined,
    [ATTR_AUDIT_ACTOR_CLAIMED]: actor.claimed.length > 0 ? actor.claimed : undefined,
    [ATTR_AUDIT_ON_BEHALF_OF_ID]: actor.onBehalfOf,
    [ATTR_AUDIT_ON_BEHALF_OF_TYPE]: actor.onBehalfOfType,
    [ATTR_AUDIT_ACTOR_CREDENTIAL_ID]: actor.credential,
    [ATTR_GEN_AI_AGENT_NAME]: actor.name,
    [ATTR_GEN_AI_AGENT_VERSION]: actor.version,
    [ATTR_GEN_AI_WORKFLOW_NAME]: actor.workflowName,
    [ATTR_AUDIT_WORKFLOW_ID]: actor.workflowId,
    [ATTR_GEN_AI_CONVERSATION_ID]: actor.conversation,
  });
}

/** What the policy says. */
export function verdictAttributes(verdict: Verdict): Uint8Array {
  return attributes({
    [ATTR_AUDIT_POLICY_DECISION]: verdict.decision,
    [ATTR_AUDIT_POLICY_ENFORCEMENT]: verdict.enforcement,
    [ATTR_AUDIT_POLICY_ID]: verdict.policyId,
    [ATTR_AUDIT_POLICY_VERSION]: verdict.policyVersion === "" ? undefined : verdict.policyVersion,
    [ATTR_AUDIT_POLICY_RULE_ID]: verdict.ruleId,
    [ATTR_AUDIT_POLICY_REASON]: verdict.reason,
    [ATTR_AUDIT_TARGET_NAME]: verdict.targetName,
  });
}

/** Whether two verdicts of one rule are written the same. */
export function sameVerdict(a: Verdict, b: Verdict): boolean {
  return (
    a === b ||
    (a.decision === b.decision &&
      a.enforcement === b.enforcement &&
      a.reason === b.reason &&
      a.targetName === b.targetName &&
      a.policyVersion === b.policyVersion &&
      a.policyId === b.policyId)
  );
}

/** Attribute fields of a Span, one after the other; what is undefined is left out. */
export function attributes(values: Readonly<Record<string, AttributeValue | undefined>>): Uint8Array {
  return Buffer.concat(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [encodeAttribute(key, value)])),
  );
}
