import { count } from "../audit.ts";
import { type Actor, claimedActor } from "../identity/actor.ts";
import { ambientActor, currentActor, currentScope, type Scope } from "../identity/scope.ts";
import { isRefused, readBaggage, readRecordId, withoutOurs, writeBaggage } from "./claim.ts";
import type { HostList, Sources } from "./hosts.ts";

/** To whom this process says who acts, and whose word it takes. */
export interface Propagation {
  /** Undefined: to nobody. */
  readonly to: HostList | undefined;
  readonly from: Sources;
  /** The process has the identity of whoever started it, and none of its own. */
  readonly isInherited: boolean;
}

/** Counted in `process.summary`: what was sent as an identity and is not well-formed. */
const REFUSED = "identity_claim_refused";

const NOBODY: Sources = { stdio: false, http: false, accepts: () => false };

const NONE: Propagation = { to: undefined, from: NOBODY, isInherited: false };

let propagation = NONE;

export function configurePropagation(next: Propagation | undefined): void {
  propagation = next ?? NONE;
}

/** Whether identities are taken from HTTP requests at all. */
export function acceptsHttp(): boolean {
  return propagation.from.http;
}

/** A request to a host, as its `baggage` header has to know it. */
interface Told {
  /** Undefined where it does not go there directly: through a proxy that can read it, or a unix socket. */
  readonly host: string | undefined;
  readonly port: number;
  readonly actor: Actor | undefined;
  readonly recordId: string;
}

/**
 * The `baggage` header of a request; undefined: as it is, empty: none. A listed host is told who acts, and that the record
 * of the request is the cause of what it does. No other host is, not even where the application passes on the header of a
 * request that it got.
 */
export function baggageOf(given: string | undefined, { host, port, actor, recordId }: Told): string | undefined {
  const isTold = host !== undefined && propagation.to?.(host, port) === true;
  if (!isTold && (given === undefined || !changesBaggage())) return undefined;
  const others = given === undefined ? "" : withoutOurs(given);
  if (!isTold) return others === given ? undefined : others;
  const ours = writeBaggage(actor, recordId);
  return others === "" ? ours : `${others},${ours}`;
}

/** Whether any request's `baggage` may have to be changed. */
export function changesBaggage(): boolean {
  return propagation.to !== undefined || propagation.from.http;
}

/** Where a request with our entries in its `baggage` header is answered; undefined without them or from a stranger. */
export function scopeOfRequest(header: unknown, address: string | undefined): Scope | undefined {
  if (typeof header !== "string" || !propagation.from.accepts(address)) return undefined;
  return scopeOfBaggage(header, currentActor());
}

/** MCP's `_meta` is for keys of everybody; these are ours. */
const META_CAUSE = "otel-audit/cause";
const META_IDENTITY = "otel-audit/identity";

/**
 * What a tool call says to the server, in its `_meta`: the record of the call, a random id, to every server. Who acts, in
 * the form of the `baggage` header, only to a process at the other end of our pipe: over HTTP that header says it, to
 * listed hosts.
 */
export function metaOf(recordId: string, isPipe: boolean): Record<string, string> {
  const who = isPipe ? writeBaggage(currentScope().actor, undefined) : "";
  return { [META_CAUSE]: recordId, ...(who === "" ? undefined : { [META_IDENTITY]: who }) };
}

/** Where a server answers a tool call: under what its `_meta` says. */
export function scopeOfMeta(meta: unknown, isPipe: boolean): Scope {
  const here = currentScope();
  if (typeof meta !== "object" || meta === null) return here;
  const identity: unknown = Reflect.get(meta, META_IDENTITY);
  const isAccepted = isPipe && propagation.from.stdio && typeof identity === "string";
  const own = here.actor === ambientActor() ? whateverStartedIt(here.actor) : here.actor;
  const scope = (isAccepted ? scopeOfBaggage(identity, own) : undefined) ?? here;
  const recordId = readRecordId(Reflect.get(meta, META_CAUSE));
  return typeof recordId === "string" ? { ...scope, cause: { recordId, tool: undefined } } : scope;
}

/** One agent started this process, but any agent of that program may be the one who calls it now. */
function whateverStartedIt(actor: Actor | undefined): Actor | undefined {
  return actor === undefined || propagation.isInherited ? undefined : { ...actor, chain: [] };
}

function scopeOfBaggage(text: string, own: Actor | undefined): Scope | undefined {
  const read = readBaggage(text);
  if (isRefused(read)) {
    count(REFUSED);
    return undefined;
  }
  const { claim, cause } = read;
  if (claim === undefined && cause === undefined) return undefined;
  const here = currentScope();
  return {
    actor: claim === undefined ? here.actor : claimedActor(claim, own),
    quiet: here.quiet,
    cause: cause === undefined ? here.cause : { recordId: cause, tool: undefined },
  };
}
