import {
  ATTR_AUDIT_ACTOR_CHAIN,
  ATTR_AUDIT_ACTOR_ID,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_CAUSE_RECORD_ID,
  ATTR_AUDIT_ON_BEHALF_OF_ID,
  ATTR_AUDIT_ON_BEHALF_OF_TYPE,
  ATTR_AUDIT_WORKFLOW_ID,
  ATTR_GEN_AI_AGENT_NAME,
  ATTR_GEN_AI_AGENT_VERSION,
  ATTR_GEN_AI_CONVERSATION_ID,
  ATTR_GEN_AI_WORKFLOW_NAME,
} from "@otel-audit/semantic-conventions";

import { type Actor, actorType, type Claim, MAX_CHAIN } from "../identity/actor.ts";
import { cleanName } from "../text.ts";

/**
 * Who acts, as entries of a W3C `baggage` header; docs/propagation.md has the format. The credential stays here: it is
 * what the next process has to find out for itself.
 */

/** What we write is no longer than this, in bytes; what does not fit is left out, the last of the list first. */
const MAX_WRITTEN = 4096;
/** What is longer is not read. */
const MAX_READ = 16 * 1024;

const KEYS: ReadonlySet<string> = new Set([
  ATTR_AUDIT_ACTOR_ID,
  ATTR_AUDIT_ACTOR_TYPE,
  ATTR_AUDIT_ACTOR_CHAIN,
  ATTR_AUDIT_CAUSE_RECORD_ID,
  ATTR_AUDIT_ON_BEHALF_OF_ID,
  ATTR_AUDIT_ON_BEHALF_OF_TYPE,
  ATTR_AUDIT_WORKFLOW_ID,
  ATTR_GEN_AI_AGENT_NAME,
  ATTR_GEN_AI_AGENT_VERSION,
  ATTR_GEN_AI_CONVERSATION_ID,
  ATTR_GEN_AI_WORKFLOW_NAME,
]);

const written = new WeakMap<Actor, string>();

/** The entries for an actor and a cause; empty without both. */
export function writeBaggage(actor: Actor | undefined, cause: string | undefined): string {
  const who = actor === undefined ? "" : entriesOf(actor);
  const why = cause === undefined ? "" : entry(ATTR_AUDIT_CAUSE_RECORD_ID, cause);
  return who === "" || why === "" ? who + why : `${why},${who}`;
}

function entriesOf(actor: Actor): string {
  const known = written.get(actor);
  if (known !== undefined) return known;
  const values: readonly (readonly [string, string | undefined])[] = [
    [ATTR_AUDIT_ACTOR_ID, actor.id],
    [ATTR_AUDIT_ACTOR_TYPE, actor.type],
    [ATTR_AUDIT_ON_BEHALF_OF_ID, actor.onBehalfOf],
    [ATTR_AUDIT_ON_BEHALF_OF_TYPE, actor.onBehalfOfType],
    [ATTR_GEN_AI_WORKFLOW_NAME, actor.workflowName],
    [ATTR_AUDIT_WORKFLOW_ID, actor.workflowId],
    [ATTR_GEN_AI_CONVERSATION_ID, actor.conversation],
    [ATTR_AUDIT_ACTOR_CHAIN, actor.chain.length === 0 ? undefined : JSON.stringify(actor.chain)],
    [ATTR_GEN_AI_AGENT_NAME, actor.name],
    [ATTR_GEN_AI_AGENT_VERSION, actor.version],
  ];
  let text = "";
  for (const [key, value] of values) {
    if (value === undefined) continue;
    const next = entry(key, value);
    if (text.length + next.length < MAX_WRITTEN) text += text === "" ? next : `,${next}`;
  }
  written.set(actor, text);
  return text;
}

function entry(key: string, value: string): string {
  return `${key}=${encodeURIComponent(value)}`;
}

/** What a `baggage` header says to us. */
export interface ReadBaggage {
  readonly claim: Claim | undefined;
  readonly cause: string | undefined;
}

/** The entries of ours are not what `writeBaggage` writes: too long, twice there, with control characters. */
const REFUSED = Symbol("refused");

/** Reads our entries of a `baggage` header. All of them or none: what is not well-formed says nothing. Never throws. */
export function readBaggage(header: string): ReadBaggage | typeof REFUSED {
  const values = ourEntries(header);
  if (values === undefined) return REFUSED;
  const chain = readChain(values.get(ATTR_AUDIT_ACTOR_CHAIN));
  const cause = readRecordId(values.get(ATTR_AUDIT_CAUSE_RECORD_ID));
  if (chain === undefined || cause === null) return REFUSED;
  const id = values.get(ATTR_AUDIT_ACTOR_ID);
  if (id === undefined) return { claim: undefined, cause };
  const onBehalfOf = values.get(ATTR_AUDIT_ON_BEHALF_OF_ID);
  const claim: Claim = {
    id,
    type: actorType(values.get(ATTR_AUDIT_ACTOR_TYPE), id, "agent"),
    chain,
    name: values.get(ATTR_GEN_AI_AGENT_NAME),
    version: values.get(ATTR_GEN_AI_AGENT_VERSION),
    onBehalfOf,
    onBehalfOfType:
      onBehalfOf === undefined ? undefined : actorType(values.get(ATTR_AUDIT_ON_BEHALF_OF_TYPE), onBehalfOf, "user"),
    workflowName: values.get(ATTR_GEN_AI_WORKFLOW_NAME),
    workflowId: values.get(ATTR_AUDIT_WORKFLOW_ID),
    conversation: values.get(ATTR_GEN_AI_CONVERSATION_ID),
  };
  return { claim, cause };
}

export function isRefused(read: ReadBaggage | typeof REFUSED): read is typeof REFUSED {
  return read === REFUSED;
}

function ourEntries(header: string): Map<string, string> | undefined {
  if (header.length > MAX_READ) return undefined;
  const values = new Map<string, string>();
  for (const member of header.split(",")) {
    // What stands behind a semicolon are properties of the entry; ours have none.
    const [pair = ""] = member.split(";", 1);
    const at = pair.indexOf("=");
    const key = pair.slice(0, Math.max(0, at)).trim();
    if (!KEYS.has(key)) continue;
    const value = decode(pair.slice(at + 1).trim());
    const isClean = value !== undefined && (key === ATTR_AUDIT_ACTOR_CHAIN || isName(value));
    if (!isClean || values.has(key)) return undefined;
    values.set(key, value);
  }
  return values;
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Nothing of it has to be replaced or cut. */
function isName(value: unknown): value is string {
  return typeof value === "string" && cleanName(value) === value;
}

function readChain(text: string | undefined): readonly string[] | undefined {
  if (text === undefined) return [];
  try {
    const chain: unknown = JSON.parse(text);
    return Array.isArray(chain) && chain.length <= MAX_CHAIN && chain.every(isName) ? chain : undefined;
  } catch {
    return undefined;
  }
}

const RECORD_ID = /^[\w.:-]{1,128}$/;

/** A record's id, null for what is none. */
export function readRecordId(value: unknown): string | undefined | null {
  if (value === undefined) return undefined;
  return typeof value === "string" && RECORD_ID.test(value) ? value : null;
}
