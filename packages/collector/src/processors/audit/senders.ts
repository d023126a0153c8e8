import type { AssertedIdentity, CollectorFacts, IdentityAnswer } from "@otel-audit/ledger";
import {
  AUDIT_ACTOR_TYPE_VALUE_SERVICE,
  EVENT_AUDIT_BYPASS,
  EVENT_PROCESS_START,
  EVENT_PROCESS_SUMMARY,
} from "@otel-audit/semantic-conventions";
import type { Principal } from "../../auth.ts";
import { neededRole } from "./control-records.ts";
import type { Sender } from "./derive.ts";

/** The actor of what our instrumentation records about itself, on behalf of the process's own agent. */
const INSTRUMENTATION = "system:otel-audit";
/** What every agent's process may say about itself. */
const OWN_EVENTS: ReadonlySet<string> = new Set([EVENT_PROCESS_START, EVENT_PROCESS_SUMMARY, EVENT_AUDIT_BYPASS]);

const VERIFIED: IdentityAnswer = { provenance: "verified", remember: true };
/** Nobody is named: the ledger says `unattributed`. */
const NOBODY: IdentityAnswer = { provenance: "asserted", remember: true };
const STORED: IdentityAnswer = { provenance: "asserted", remember: false };
const VERIFIED_ONCE: IdentityAnswer = { provenance: "verified", remember: false };

interface SendersOptions {
  readonly mismatch: "refuse" | "store";
  /** A record whose sender's credential does not cover it. */
  readonly onMismatch: (principal: Principal, asserted: string, isRefused: boolean) => void;
}

/** Without a credential everybody may say anything: all of it is only asserted. */
const UNKNOWN_SENDER: Sender = { principal: "", mayName: () => true };

/** What the collector says about the records of each sender that it knows. */
export class Senders {
  readonly #options: SendersOptions;
  readonly #judge: CollectorFacts["judge"];
  /** A principal stays the same object until its configuration is read again. */
  readonly #facts = new WeakMap<Principal, CollectorFacts>();

  constructor(options: SendersOptions, judge: CollectorFacts["judge"]) {
    this.#options = options;
    this.#judge = judge;
  }

  factsOf(principal: Principal): CollectorFacts {
    let facts = this.#facts.get(principal);
    if (facts === undefined) {
      facts = {
        provenance: "asserted",
        principal: principal.id,
        tenantId: principal.tenant,
        identify: (identity) => this.#identify(principal, identity),
        ...(this.#judge && { judge: this.#judge }),
      };
      this.#facts.set(principal, facts);
    }
    return facts;
  }

  /** As whom the records are kept that are made of somebody's foreign spans. */
  senderOf(principal: Principal | undefined): Sender {
    if (principal === undefined) return UNKNOWN_SENDER;
    return { principal: principal.id, mayName: (id, type) => this.#mayName(principal, id, type) };
  }

  /** The name is refused here, not the record: that it happened is true whoever did it. */
  #mayName(principal: Principal, actorId: string, actorType: string): boolean {
    if (principal.speaksFor(actorId, actorType)) return true;
    // The span named no actor: to take its service for one was our own guess, and is nobody's misuse.
    if (actorType === AUDIT_ACTOR_TYPE_VALUE_SERVICE) return false;
    // With `store` the ledger asks again.
    if (this.#options.mismatch === "store") return true;
    this.#options.onMismatch(principal, actorId, true);
    return false;
  }

  #identify(principal: Principal, { event, actorId, actorType, onBehalfOf }: AssertedIdentity): IdentityAnswer {
    const control = neededRole(event);
    if (control !== undefined && (control.role === undefined || !principal.roles.has(control.role))) {
      this.#options.onMismatch(principal, "", true);
      const who = control.role === undefined ? "only the collector itself sends" : `the role "${control.role}" sends`;
      return refusal(`${who} ${JSON.stringify(event.slice(0, 80))}, and credential "${principal.id}" has not`);
    }
    if (actorId === "") return NOBODY;
    if (principal.speaksFor(actorId, actorType)) return VERIFIED;
    if (actorId === INSTRUMENTATION && (control !== undefined || OWN_EVENTS.has(event))) {
      // Its own agent is who counts; a process that is nobody's may say that it started.
      if (onBehalfOf === "" || principal.speaksFor(onBehalfOf, "agent")) return VERIFIED_ONCE;
      return this.#mismatch(principal, onBehalfOf);
    }
    // Who reports reviews names people, who have no credentials here.
    if (control?.role === "review") return STORED;
    return this.#mismatch(principal, actorId);
  }

  #mismatch(principal: Principal, asserted: string): IdentityAnswer {
    const isRefused = this.#options.mismatch === "refuse";
    this.#options.onMismatch(principal, asserted, isRefused);
    if (!isRefused) return STORED;
    return refusal(`credential "${principal.id}" does not belong to ${JSON.stringify(asserted.slice(0, 80))}`);
  }
}

function refusal(reason: string): IdentityAnswer {
  return { provenance: "asserted", refused: reason, remember: false };
}
