import { AUDIT_ACTOR_TYPE_VALUES, type AuditActorType } from "@otel-audit/semantic-conventions";

import { InstrumentationError } from "../errors.ts";
import { cleanName } from "../text.ts";

/** Who acts, as an application says it. Texts are cut to 256 bytes; control characters are replaced. */
export interface AgentIdentity {
  /** `audit.actor.id`, the accountable identity, by convention `agent:<name>`. Required, not empty. */
  readonly id: string;
  /** Name for people (`gen_ai.agent.name`). */
  readonly name?: string | undefined;
  readonly version?: string | undefined;
  /** Default: the part of `id` before its colon if that is a type, else `agent`. */
  readonly type?: AuditActorType | undefined;
  /** Identifier of the credential that the agent uses, never the secret. */
  readonly credential?: string | undefined;
  /** For whom; the type is the part before the colon (`user:4711`), else `user`. Default: that of the outer agent. */
  readonly onBehalfOf?: string | { readonly id: string; readonly type?: AuditActorType | undefined } | undefined;
  /** Kind of work, or kind and run of it. Default: that of the outer agent. */
  readonly workflow?: string | { readonly name?: string | undefined; readonly id?: string | undefined } | undefined;
  /** `gen_ai.conversation.id`. Default: that of the outer agent. */
  readonly conversation?: string | undefined;
}

/** A resolved identity: bounded, clean, with its chain, frozen. */
export interface Actor {
  readonly id: string;
  readonly type: AuditActorType;
  readonly name: string | undefined;
  readonly version: string | undefined;
  readonly credential: string | undefined;
  readonly onBehalfOf: string | undefined;
  readonly onBehalfOfType: AuditActorType | undefined;
  readonly workflowName: string | undefined;
  readonly workflowId: string | undefined;
  readonly conversation: string | undefined;
  /** The agents that led here, root first, without this one; at most MAX_CHAIN. */
  readonly chain: readonly string[];
  /** Which of these identities came from another process, whose word is all there is for them. */
  readonly claimed: readonly string[];
}

/** What another process says of who asks it to act: bounded and clean, but only its word. */
export interface Claim {
  readonly id: string;
  readonly type: AuditActorType;
  readonly chain: readonly string[];
  readonly name: string | undefined;
  readonly version: string | undefined;
  readonly onBehalfOf: string | undefined;
  readonly onBehalfOfType: AuditActorType | undefined;
  readonly workflowName: string | undefined;
  readonly workflowId: string | undefined;
  readonly conversation: string | undefined;
}

/** `audit.actor.chain` is no longer than this; of a longer one the root and the nearest stay. */
export const MAX_CHAIN = 8;

const NONE: readonly string[] = Object.freeze([]);

/** Checks and bounds an identity; `outer` gives what it leaves out and the head of its chain. */
export function resolveActor(identity: AgentIdentity, outer: Actor | undefined): Actor {
  const id = cleanName(identity?.id);
  if (id === undefined) {
    throw new InstrumentationError(
      "INVALID_IDENTITY",
      `withAgent: id must be a non-empty string, got ${typeof identity?.id}`,
    );
  }
  const behalf = identity.onBehalfOf ?? undefined;
  const behalfId = cleanName(typeof behalf === "object" ? behalf.id : behalf);
  const workflow = typeof identity.workflow === "string" ? { name: identity.workflow } : identity.workflow;
  const same = outer?.id === id ? outer : undefined;
  return Object.freeze({
    id,
    type: actorType(identity.type, id, "agent"),
    name: cleanName(identity.name) ?? same?.name,
    version: cleanName(identity.version) ?? same?.version,
    // Another agent does not hold its caller's credential.
    credential: cleanName(identity.credential) ?? same?.credential,
    onBehalfOf: behalfId ?? outer?.onBehalfOf,
    onBehalfOfType:
      behalfId === undefined
        ? outer?.onBehalfOfType
        : actorType(typeof behalf === "object" ? behalf.type : undefined, behalfId, "user"),
    workflowName: cleanName(workflow?.name) ?? outer?.workflowName,
    // Another kind of work is another run.
    workflowId: cleanName(workflow?.id) ?? (workflow?.name === undefined ? outer?.workflowId : undefined),
    conversation: cleanName(identity.conversation) ?? outer?.conversation,
    chain: same?.chain ?? (outer === undefined ? NONE : boundChain([...outer.chain, outer.id])),
    claimed: outer?.claimed ?? NONE,
  });
}

/**
 * Who acts on the word of another process. An agent of our own stays the accountable one, and the claimed one stands
 * before it in the chain; where there is none, the claimed one acts. `claimed` says what is only claimed.
 */
export function claimedActor(claim: Claim, own: Actor | undefined): Actor {
  // Claimed twice on its way: by the headers of a request and inside of it.
  if (own?.chain.includes(claim.id) === true) return own;
  const { id, chain } = claim;
  const led = own === undefined || own.id === id ? chain : [...chain, id, ...own.chain];
  const behalf = own?.onBehalfOf === undefined && claim.onBehalfOf !== undefined ? [claim.onBehalfOf] : [];
  const actor = {
    id: own?.id ?? id,
    type: own?.type ?? claim.type,
    name: own === undefined ? claim.name : own.name,
    version: own === undefined ? claim.version : own.version,
    credential: own?.credential,
    onBehalfOf: own?.onBehalfOf ?? claim.onBehalfOf,
    onBehalfOfType: own?.onBehalfOf === undefined ? claim.onBehalfOfType : own.onBehalfOfType,
    workflowName: own?.workflowName ?? claim.workflowName,
    workflowId: own?.workflowId ?? (own?.workflowName === undefined ? claim.workflowId : undefined),
    conversation: own?.conversation ?? claim.conversation,
    chain: boundChain(led),
  };
  // Our own agent may have been led here by an earlier claim.
  return withClaimed(actor, [...chain, ...(own?.id === id ? [] : [id]), ...behalf, ...(own?.claimed ?? NONE)]);
}

/** The actor, with those of the ids that it has as the ones that are only claimed. */
export function withClaimed(actor: Omit<Actor, "claimed">, ids: readonly string[]): Actor {
  const { id, chain, onBehalfOf } = actor;
  const claimed = ids.filter((each) => each === id || each === onBehalfOf || chain.includes(each));
  return Object.freeze({ ...actor, claimed: Object.freeze([...new Set(claimed)]) });
}

function boundChain(chain: readonly string[]): readonly string[] {
  return Object.freeze(chain.length <= MAX_CHAIN ? [...chain] : [chain[0]!, ...chain.slice(1 - MAX_CHAIN)]);
}

/** The type that an identity says, or that its id begins with (`user:4711`). */
export function actorType(given: unknown, id: string, otherwise: AuditActorType): AuditActorType {
  const type = given ?? id.slice(0, Math.max(0, id.indexOf(":")));
  return AUDIT_ACTOR_TYPE_VALUES.find((known) => known === type) ?? otherwise;
}

/** An identity as it was given, field by field, and what became of it under `outer`. */
interface Resolved {
  readonly outer: Actor | undefined;
  readonly given: AgentIdentity;
  readonly actor: Actor;
}

const MAX_IDS = 256;
const MAX_FOR_ONE_ID = 4;
const resolved = new Map<string, Resolved[]>();

/**
 * As `resolveActor`, remembering the answer: a program calls `withAgent` with the same few identities over and over, and
 * an Actor that is the same object again is encoded only once.
 */
export function actorOf(identity: AgentIdentity, outer: Actor | undefined): Actor {
  const id: unknown = identity?.id;
  if (typeof id !== "string") return resolveActor(identity, outer);
  let known = resolved.get(id);
  if (known !== undefined) {
    for (const entry of known) if (entry.outer === outer && sameIdentity(entry.given, identity)) return entry.actor;
  }
  const actor = resolveActor(identity, outer);
  const given = copyOf(identity);
  // What was given is kept, and may be much longer than what became of it.
  if (sizeOf(given) > MAX_SIZE) return actor;
  if (known === undefined) {
    if (resolved.size >= MAX_IDS) resolved.clear();
    resolved.set(id, (known = []));
  } else if (known.length >= MAX_FOR_ONE_ID) {
    known.shift();
  }
  known.push({ outer, given, actor });
  return actor;
}

/** The caller may change its object afterwards. */
function copyOf(identity: AgentIdentity): AgentIdentity {
  const { id, name, version, type, credential, onBehalfOf, workflow, conversation } = identity;
  return {
    id,
    name,
    version,
    type,
    credential,
    conversation,
    onBehalfOf: typeof onBehalfOf === "object" ? { id: onBehalfOf?.id, type: onBehalfOf?.type } : onBehalfOf,
    workflow: typeof workflow === "object" ? { id: workflow?.id, name: workflow?.name } : workflow,
  };
}

const MAX_SIZE = 2048;

function sizeOf({ onBehalfOf, workflow, ...texts }: AgentIdentity): number {
  const behalf = typeof onBehalfOf === "object" ? onBehalfOf.id : onBehalfOf;
  const work = typeof workflow === "object" ? [workflow.id, workflow.name] : [workflow];
  return [...Object.values(texts), behalf, ...work].reduce((size, text) => size + (text?.length ?? 0), 0);
}

function sameIdentity(a: AgentIdentity, b: AgentIdentity): boolean {
  return (
    a.name === b.name &&
    a.version === b.version &&
    a.type === b.type &&
    a.credential === b.credential &&
    a.conversation === b.conversation &&
    sameParts(a.onBehalfOf, b.onBehalfOf) &&
    sameParts(a.workflow, b.workflow)
  );
}

type Parts =
  | string
  | { readonly id?: string | undefined; readonly name?: string | undefined; readonly type?: string | undefined };

function sameParts(a: Parts | undefined, b: Parts | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  return a.id === b.id && a.name === b.name && a.type === b.type;
}
