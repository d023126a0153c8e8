import type { AuditActorType } from "@otel-audit/semantic-conventions";

import { type Actor, MAX_CHAIN, resolveActor, withClaimed } from "./identity.ts";
import { cleanName } from "./text.ts";

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Variables that say who a process is. All of them together are one identity: one is never mixed with another's. */
const VARIABLES = {
  id: "OTEL_AUDIT_AGENT_ID",
  type: "OTEL_AUDIT_AGENT_TYPE",
  name: "OTEL_AUDIT_AGENT_NAME",
  version: "OTEL_AUDIT_AGENT_VERSION",
  credential: "OTEL_AUDIT_CREDENTIAL",
  onBehalfOf: "OTEL_AUDIT_ON_BEHALF_OF",
  onBehalfOfType: "OTEL_AUDIT_ON_BEHALF_OF_TYPE",
  workflowName: "OTEL_AUDIT_WORKFLOW_NAME",
  workflowId: "OTEL_AUDIT_WORKFLOW_ID",
  conversation: "OTEL_AUDIT_CONVERSATION_ID",
} as const satisfies { readonly [K in keyof Actor]?: string };

/** The agents that led to this one, root first: percent-encoded, comma separated. */
const CHAIN = "OTEL_AUDIT_AGENT_CHAIN";
/** Which of these ids came from another process and are only its word, in the same form. */
const CLAIMED = "OTEL_AUDIT_AGENT_CLAIMED";
/** The record of the action that started this process. */
const CAUSE = "OTEL_AUDIT_CAUSE_RECORD_ID";

/** Set where the identity is that of whoever started the process, and not one that the process was given. */
const INHERITED = "OTEL_AUDIT_AGENT_INHERITED";

/** Every variable of an identity. */
export const IDENTITY_VARIABLES: readonly string[] = [...Object.values(VARIABLES), CHAIN, CLAIMED, CAUSE, INHERITED];

/** Who this process is, as whoever started it said; undefined when nobody did. */
export function actorFromEnvironment(env: Environment): Actor | undefined {
  const id = cleanName(env[VARIABLES.id]);
  if (id === undefined) return undefined;
  const behalf = env[VARIABLES.onBehalfOf];
  const actor = resolveActor(
    {
      id,
      type: asType(env[VARIABLES.type]),
      name: env[VARIABLES.name],
      version: env[VARIABLES.version],
      credential: env[VARIABLES.credential],
      onBehalfOf: behalf === undefined ? undefined : { id: behalf, type: asType(env[VARIABLES.onBehalfOfType]) },
      workflow: { name: env[VARIABLES.workflowName], id: env[VARIABLES.workflowId] },
      conversation: env[VARIABLES.conversation],
    },
    undefined,
  );
  const chain = chainFrom(env[CHAIN]);
  return chain.length === 0 && env[CLAIMED] === undefined
    ? actor
    : withClaimed({ ...actor, chain: Object.freeze(chain) }, idsFrom(env[CLAIMED]));
}

/** Whether the process has the identity of whoever started it. */
export function isInherited(env: Environment): boolean {
  return env[INHERITED] === "1";
}

/** The record that led to this process, from the environment. */
export function causeFromEnvironment(env: Environment): string | undefined {
  return cleanName(env[CAUSE], 64);
}

/**
 * The variables that hand an identity to a process; undefined for those that it must not have, of another identity.
 * @param cause id of the record of starting it
 */
export function environmentOf(actor: Actor, cause: string | undefined): Environment {
  const env: Record<string, string | undefined> = {
    ...causeEnvironment(cause),
    ...chainEnvironment(actor.chain),
    ...claimedEnvironment(actor.claimed),
    [INHERITED]: "1",
  };
  for (const [key, variable] of Object.entries(VARIABLES)) {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of the table
    env[variable] = actor[key as keyof typeof VARIABLES];
  }
  return env;
}

/** For a process that was given an identity of its own by the application: who started it. */
export function callerEnvironment(caller: Actor, cause: string | undefined): Environment {
  const chain = chainEnvironment([...caller.chain, caller.id]);
  return { ...causeEnvironment(cause), ...chain, ...claimedEnvironment(caller.claimed), [INHERITED]: undefined };
}

/** For a process that nobody started, as far as is known. */
export function causeEnvironment(cause: string | undefined): Environment {
  return { [CAUSE]: cause };
}

function chainEnvironment(chain: readonly string[]): Environment {
  return { [CHAIN]: listOf(chain) };
}

function claimedEnvironment(claimed: readonly string[]): Environment {
  return { [CLAIMED]: listOf(claimed) };
}

function listOf(ids: readonly string[]): string | undefined {
  return ids.length === 0 ? undefined : ids.map((id) => encodeURIComponent(id)).join(",");
}

function chainFrom(text: string | undefined): readonly string[] {
  const ids = idsFrom(text);
  return ids.length <= MAX_CHAIN ? ids : [ids[0]!, ...ids.slice(1 - MAX_CHAIN)];
}

function idsFrom(text: string | undefined): readonly string[] {
  return (text ?? "").split(",").flatMap((part) => cleanName(decode(part.trim())) ?? []);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function asType(text: string | undefined): AuditActorType | undefined {
  return text === "agent" || text === "user" || text === "service" || text === "system" ? text : undefined;
}
