import { begin, count, observes, type Operation } from "../audit.ts";
import { currentScope, runIn, type Scope } from "../identity/scope.ts";
import type { SqlClassification } from "../sql/classification.ts";
import { classifySql } from "../sql/classify.ts";
import type { AnyFunction } from "../unknown.ts";
import type { Session } from "./pg-session.ts";
import { errorAttributes } from "./pg-statement.ts";

/** `error.type` of a statement that was called with one text and then sent with another, which has its own record. */
const TEXT_CHANGED = "text_changed";

/** No text was judged yet. */
const NOTHING = Symbol("nothing");

/** A statement on its way from the call to its end. */
export class Sent {
  readonly #scope: Scope;
  readonly #connection: unknown;
  readonly session: Session;
  /** What may be sent: what was judged. */
  #text: unknown = NOTHING;
  #isFree = false;
  /** It was written to the connection. */
  #isSent = false;
  #operation: Operation | undefined;
  /** What was sent before in the same place: a query object may send several texts. */
  #earlier: Operation[] | undefined;
  /** What it changes for others, until that is settled. */
  #effects: SqlClassification | undefined;
  /** An approver is being asked. */
  isHeld = false;

  constructor(session: Session, connection: unknown) {
    this.#scope = currentScope();
    this.session = session;
    this.#connection = connection;
  }

  get operation(): Operation | undefined {
    return this.#operation;
  }

  /** Whether this text, which is being sent, was judged. */
  passes(text: unknown): boolean {
    if (!this.#isFree && text !== this.#text) return false;
    this.#isSent = true;
    return true;
  }

  /** Judges the text under the identity of now. */
  judge(text: unknown, canWait: boolean): void {
    const classification = this.session.resolve(classifySql(text));
    this.#text = text;
    this.#announce(classification);
    if (classification.ignorable) count("sql");
    else this.#operation = begin(this.session.action(classification), canWait);
  }

  /** Lets the text pass, whatever it does, but for what it changes for others. */
  follow(text: unknown): void {
    this.#isFree = true;
    this.#announce(classifySql(text));
  }

  #announce(classification: SqlClassification): void {
    if (classification.effects === undefined) return;
    this.#effects = classification;
    this.session.announce(classification.effects, this.#connection);
  }

  /** Judges what is sent in the place of, or after, what was called; under the caller's identity. */
  judgeAgain(text: unknown): void {
    if (!this.#isSent) this.#operation?.end(TEXT_CHANGED);
    else if (this.#operation !== undefined) (this.#earlier ??= []).push(this.#operation);
    this.#settle("failure");
    this.#operation = undefined;
    this.enter(() => this.judge(text, false), undefined, []);
    this.#isSent = this.operation?.denied === undefined;
  }

  /** It has come to its end: the first call counts. */
  end(error?: unknown, attributes?: Readonly<Record<string, string | number>>): void {
    const stopped = this.#operation?.denied !== undefined;
    this.#settle(stopped ? undefined : error === undefined ? "success" : "failure");
    const more = error === undefined ? attributes : errorAttributes(error);
    this.#operation?.end(error, more);
    for (const operation of this.#earlier ?? []) operation.end(error, more);
  }

  #settle(outcome: "success" | "failure" | undefined): void {
    const effects = this.#effects;
    if (effects === undefined) return;
    this.#effects = undefined;
    this.session.conclude(effects, outcome);
  }

  /** Calls a method under the identity of the statement's caller: a connection's events come in the context that opened it. */
  enter(method: AnyFunction, self: unknown, args: ArrayLike<unknown>): unknown {
    if (currentScope() === this.#scope) return Reflect.apply(method, self, args);
    return runIn(this.#scope, () => Reflect.apply(method, self, args));
  }
}

/** Of nobody whose actions are recorded: it may send what it likes. */
export const UNOBSERVED = Symbol("unobserved");

/** What nobody says can still change what somebody's statements mean. */
const TELLING = /search_path|set\s+schema|reset\s+all|discard|prepare|deallocate/i;
const MAX_TELLING_LENGTH = 16 * 1024;

/** The statement of a call, judged. One without a text is judged when it sends one. */
export function send(session: Session, connection: unknown, text: unknown): Sent | typeof UNOBSERVED {
  const isObserved = observes();
  if (!isObserved && !isTelling(text)) return UNOBSERVED;
  const sent = new Sent(session, connection);
  if (!isObserved) sent.follow(text);
  else if (typeof text === "string") sent.judge(text, true);
  return sent;
}

/** Nobody's last text that tells nothing: mostly it is the same again. */
let lastSilent: unknown;

function isTelling(text: unknown): boolean {
  if (text === lastSilent || typeof text !== "string" || text.length > MAX_TELLING_LENGTH) return false;
  if (TELLING.test(text)) return true;
  lastSilent = text;
  return false;
}
