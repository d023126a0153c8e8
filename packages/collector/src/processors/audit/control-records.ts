import { encodeSpan, frameSpans, type AttributeValue } from "@otel-audit/otlp";
import type { Policy } from "@otel-audit/policy";
import {
  ATTR_AUDIT_ACTION,
  ATTR_AUDIT_ACTOR_CREDENTIAL_ID,
  ATTR_AUDIT_ACTOR_ID,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_CREDENTIAL_AGENTS,
  ATTR_AUDIT_CREDENTIAL_ASSERTED,
  ATTR_AUDIT_EVENT_NAME,
  ATTR_AUDIT_OUTCOME,
  ATTR_AUDIT_POLICY_DECISION,
  ATTR_AUDIT_POLICY_DOCUMENT,
  ATTR_AUDIT_POLICY_ENFORCEMENT,
  ATTR_AUDIT_POLICY_ID,
  ATTR_AUDIT_POLICY_MODE,
  ATTR_AUDIT_POLICY_VERSION,
  ATTR_AUDIT_RECORD_ID,
  ATTR_AUDIT_RECORD_ORIGIN,
  ATTR_AUDIT_SCHEMA_VERSION,
  ATTR_ERROR_TYPE,
  ATTR_SERVICE_NAME,
  AUDIT_ACTION_VALUE_EXECUTE,
  AUDIT_ACTION_VALUE_UPDATE,
  AUDIT_ACTOR_TYPE_VALUE_SYSTEM,
  AUDIT_OUTCOME_VALUE_FAILURE,
  AUDIT_OUTCOME_VALUE_SUCCESS,
  AUDIT_POLICY_DECISION_VALUE_ALLOW,
  AUDIT_POLICY_ENFORCEMENT_VALUE_OBSERVED,
  AUDIT_RECORD_ORIGIN_VALUE_EFFECT,
  EVENT_CREDENTIAL_SHARED,
  EVENT_POLICY_LOADED,
  SCHEMA_VERSION,
} from "@otel-audit/semantic-conventions";
import { randomBytes, randomUUID } from "node:crypto";
import type { Principal, Role } from "../../auth.ts";
import { SCOPE } from "../../service/version.ts";

/** The collector as an actor and a principal. */
export const COLLECTOR = "otel-audit-collector";

/** By the first part of their names, the records that only a credential with that role may send; `undefined`: none may. */
const ROLE_OF: ReadonlyMap<string, Role | undefined> = new Map([
  ["policy", "policy"],
  ["review", "review"],
  ["key", "keys"],
  ["keys", "keys"],
  ["retention", "retention"],
  ["credential", undefined],
]);

/** What it takes to send records of this event; undefined: nothing. `role` is undefined where no sender may. */
export function neededRole(event: string): { readonly role: Role | undefined } | undefined {
  const [family] = event.split(".", 1);
  return ROLE_OF.has(family!) ? { role: ROLE_OF.get(family!) } : undefined;
}

/** The collector's policy as a record of its own, so that the hash in every verdict has its text in the same table. */
export function policyLoaded(policy: Policy): Uint8Array {
  return ownRecord(EVENT_POLICY_LOADED, {
    [ATTR_AUDIT_ACTION]: AUDIT_ACTION_VALUE_UPDATE,
    [ATTR_AUDIT_OUTCOME]: AUDIT_OUTCOME_VALUE_SUCCESS,
    [ATTR_AUDIT_POLICY_ID]: policy.id,
    [ATTR_AUDIT_POLICY_VERSION]: policy.version,
    [ATTR_AUDIT_POLICY_MODE]: policy.mode,
    [ATTR_AUDIT_POLICY_DOCUMENT]: policy.text,
  });
}

/** That a credential was used in the name of an agent that it does not belong to. */
export function credentialShared(principal: Principal, asserted: string, isRefused: boolean): Uint8Array {
  return ownRecord(EVENT_CREDENTIAL_SHARED, {
    [ATTR_AUDIT_ACTION]: AUDIT_ACTION_VALUE_EXECUTE,
    [ATTR_AUDIT_OUTCOME]: isRefused ? AUDIT_OUTCOME_VALUE_FAILURE : AUDIT_OUTCOME_VALUE_SUCCESS,
    ...(isRefused && { [ATTR_ERROR_TYPE]: "identity_refused" }),
    [ATTR_AUDIT_ACTOR_CREDENTIAL_ID]: principal.id,
    [ATTR_AUDIT_CREDENTIAL_ASSERTED]: asserted,
    [ATTR_AUDIT_CREDENTIAL_AGENTS]: principal.agents,
  });
}

/** A record of the collector about itself, as a request. */
function ownRecord(event: string, attributes: Readonly<Record<string, AttributeValue>>): Uint8Array {
  const now = BigInt(Date.now()) * 1_000_000n;
  const span = encodeSpan({
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    name: event,
    kind: 1,
    startTimeUnixNano: now,
    endTimeUnixNano: now,
    attributes: {
      [ATTR_AUDIT_EVENT_NAME]: event,
      [ATTR_AUDIT_ACTOR_ID]: COLLECTOR,
      [ATTR_AUDIT_ACTOR_TYPE]: AUDIT_ACTOR_TYPE_VALUE_SYSTEM,
      [ATTR_AUDIT_POLICY_DECISION]: AUDIT_POLICY_DECISION_VALUE_ALLOW,
      [ATTR_AUDIT_POLICY_ENFORCEMENT]: AUDIT_POLICY_ENFORCEMENT_VALUE_OBSERVED,
      [ATTR_AUDIT_RECORD_ID]: randomUUID(),
      [ATTR_AUDIT_RECORD_ORIGIN]: AUDIT_RECORD_ORIGIN_VALUE_EFFECT,
      [ATTR_AUDIT_SCHEMA_VERSION]: SCHEMA_VERSION,
      ...attributes,
    },
  });
  return frameSpans({ [ATTR_SERVICE_NAME]: COLLECTOR }, SCOPE, [span]);
}
