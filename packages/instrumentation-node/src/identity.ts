import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";

import { AUDIT_ACTOR_TYPE_VALUES, type AuditActorType } from "@otel-audit/semantic-conventions";

import { InstrumentationError } from "./errors.ts";
import { cleanName } from "./text.ts";

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

/** A resolved identity: bounded, clean, with its chain. One object for each `withAgent` call. */
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
}

/** What travels with the asynchronous context. */
interface Scope {
  readonly actor: Actor | undefined;
  /** What happens here is part of an action that is recorded already, or our own traffic. */
  readonly quiet: boolean;
}

/** `audit.actor.chain` is no longer than this; of a longer one the root and the nearest stay. */
export const MAX_CHAIN = 8;

// One storage for all copies of this package in a process: the application may import another copy than the one that
// was registered, and its withAgent must count all the same.
const STORAGE = Symbol.for("otel-audit.identity.1");
const shared: typeof globalThis & { [STORAGE]?: AsyncLocalStorage<Scope | undefined> } = globalThis;
const storage = (shared[STORAGE] ??= new AsyncLocalStorage<Scope | undefined>());

const OWN: Scope = { actor: undefined, quiet: true };

let ambient: Actor | undefined;

/** Sets who acts where no `withAgent` says so: the identity of a process that is one agent. */
export function setAmbientActor(actor: Actor | undefined): void {
  ambient = actor;
}

/**
 * Runs `fn`, and everything it starts, as the given agent. Nested calls keep the outer agents as `audit.actor.chain`.
 *
 * @throws InstrumentationError INVALID_IDENTITY if `identity.id` is not a non-empty string.
 */
export function withAgent<T>(identity: AgentIdentity, fn: () => T): T {
  return storage.run({ actor: resolveActor(identity, currentActor()), quiet: false }, fn);
}

/** Who acts now; undefined outside `withAgent` in a process without an identity of its own. */
export function currentAgent(): Actor | undefined {
  return currentActor();
}

export function currentActor(): Actor | undefined {
  return storage.getStore()?.actor ?? ambient;
}

/**
 * Whether there is anybody whose actions here may be recorded.
 * @param nobody the answer outside every identity
 */
export function mayRecord(nobody: boolean): boolean {
  const scope = storage.getStore();
  if (scope === undefined) return nobody || ambient !== undefined;
  return !scope.quiet && (nobody || scope.actor !== undefined || ambient !== undefined);
}

/** Whether what happens now is part of something recorded, or our own traffic. */
export function isQuiet(): boolean {
  return storage.getStore()?.quiet === true;
}

/** Runs `fn` so that neither it nor what it starts is recorded: the inside of a recorded action. */
export function quietlyAsync<T>(fn: () => T): T {
  return storage.run({ actor: storage.getStore()?.actor, quiet: true }, fn);
}

/** `fn`, to be called later under the identity of now: for callbacks that cross a pool or a quiet zone. */
export function bindIdentity<A extends unknown[], R>(
  fn: (this: unknown, ...args: A) => R,
): (this: unknown, ...args: A) => R {
  const scope = storage.getStore();
  return function (this: unknown, ...args: A): R {
    return storage.run(scope, () => Reflect.apply(fn, this, args));
  };
}

// Timers and sockets of ours must not keep the context of the agent that happened to be running when they were made.
const root = new AsyncResource("otel-audit");

/** Runs our own work: outside every context of the application, and never recorded. */
export function asOurselves<T>(fn: () => T): T {
  return root.runInAsyncScope(() => storage.run(OWN, fn));
}

/** Checks and bounds an identity; `outer` gives what it leaves out and the head of its chain. */
export function resolveActor(identity: AgentIdentity, outer: Actor | undefined): Actor {
  const id = cleanName(identity?.id);
  if (id === undefined) {
    throw new InstrumentationError(
      "INVALID_IDENTITY",
      `withAgent: id must be a non-empty string, got ${typeof identity?.id}`,
    );
  }
  const behalf = identity.onBehalfOf;
  const behalfId = cleanName(typeof behalf === "object" ? behalf.id : behalf);
  const workflow = typeof identity.workflow === "string" ? { name: identity.workflow } : identity.workflow;
  const same = outer?.id === id ? outer : undefined;
  return {
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
    chain: same?.chain ?? lengthen(outer),
  };
}

function lengthen(outer: Actor | undefined): readonly string[] {
  if (outer === undefined) return [];
  const chain = [...outer.chain, outer.id];
  return chain.length <= MAX_CHAIN ? chain : [chain[0]!, ...chain.slice(1 - MAX_CHAIN)];
}

function actorType(given: AuditActorType | undefined, id: string, otherwise: AuditActorType): AuditActorType {
  const type = given ?? id.slice(0, Math.max(0, id.indexOf(":")));
  return AUDIT_ACTOR_TYPE_VALUES.find((known) => known === type) ?? otherwise;
}
