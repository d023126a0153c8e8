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

/** All of them are ours by their prefix: the application's own baggage is never taken for them. */
const KEY = {
  id: "audit.actor.id",
  type: "audit.actor.type",
  chain: "audit.actor.chain",
  name: "audit.agent.name",
  version: "audit.agent.version",
  onBehalfOf: "audit.on_behalf_of.id",
  onBehalfOfType: "audit.on_behalf_of.type",
  workflowName: "audit.workflow.name",
  workflowId: "audit.workflow.id",
  conversation: "audit.conversation.id",
  cause: "audit.cause.record.id",
} as const;
const KEYS: ReadonlySet<string> = new Set(Object.values(KEY));

const written = new WeakMap<Actor, string>();

/** The entries for an actor and a cause; empty without both. */
export function writeBaggage(actor: Actor | undefined, cause: string | undefined): string {
  const who = actor === undefined ? "" : entriesOf(actor);
  const why = cause === undefined ? "" : entry(KEY.cause, cause);
  return who === "" || why === "" ? who + why : `${why},${who}`;
}

function entriesOf(actor: Actor): string {
  const known = written.get(actor);
  if (known !== undefined) return known;
  const values: readonly (readonly [string, string | undefined])[] = [
    [KEY.id, actor.id],
    [KEY.type, actor.type],
    [KEY.onBehalfOf, actor.onBehalfOf],
    [KEY.onBehalfOfType, actor.onBehalfOfType],
    [KEY.workflowName, actor.workflowName],
    [KEY.workflowId, actor.workflowId],
    [KEY.conversation, actor.conversation],
    [KEY.chain, actor.chain.length === 0 ? undefined : JSON.stringify(actor.chain)],
    [KEY.name, actor.name],
    [KEY.version, actor.version],
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
interface ReadBaggage {
  readonly claim: Claim | undefined;
  readonly cause: string | undefined;
}

/** The entries of ours are not what `writeBaggage` writes: too long, twice there, with control characters. */
const REFUSED = Symbol("refused");

/** Reads our entries of a `baggage` header. All of them or none: what is not well-formed says nothing. Never throws. */
export function readBaggage(header: string): ReadBaggage | typeof REFUSED {
  const values = ourEntries(header);
  if (values === undefined) return REFUSED;
  const chain = readChain(values.get(KEY.chain));
  const cause = readRecordId(values.get(KEY.cause));
  if (chain === undefined || cause === null) return REFUSED;
  const id = values.get(KEY.id);
  if (id === undefined) return { claim: undefined, cause };
  const onBehalfOf = values.get(KEY.onBehalfOf);
  const claim: Claim = {
    id,
    type: actorType(values.get(KEY.type), id, "agent"),
    chain,
    name: values.get(KEY.name),
    version: values.get(KEY.version),
    onBehalfOf,
    onBehalfOfType:
      onBehalfOf === undefined ? undefined : actorType(values.get(KEY.onBehalfOfType), onBehalfOf, "user"),
    workflowName: values.get(KEY.workflowName),
    workflowId: values.get(KEY.workflowId),
    conversation: values.get(KEY.conversation),
  };
  return { claim, cause };
}

export function isRefused(read: ReadBaggage | typeof REFUSED): read is typeof REFUSED {
  return read === REFUSED;
}

/** The members of a `baggage` header that are not ours, as they are. */
export function withoutOurs(header: string): string {
  if (!header.includes("audit.")) return header;
  return header
    .split(",")
    .filter((member) => !KEYS.has(keyOf(member)))
    .join(",")
    .trim();
}

function keyOf(member: string): string {
  return member.slice(0, Math.max(0, member.indexOf("="))).trim();
}

function ourEntries(header: string): Map<string, string> | undefined {
  if (header.length > MAX_READ) return undefined;
  const values = new Map<string, string>();
  for (const member of header.split(",")) {
    // What stands behind a semicolon are properties of the entry; ours have none.
    const [pair = ""] = member.split(";", 1);
    const key = keyOf(pair);
    if (!KEYS.has(key)) continue;
    const value = decode(pair.slice(pair.indexOf("=") + 1).trim());
    const isClean = value !== undefined && (key === KEY.chain || isName(value));
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
