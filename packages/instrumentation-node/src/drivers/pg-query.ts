import { AuditPolicyDeniedError } from "../errors.ts";
import { replace } from "../patch.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { Sent, type UNOBSERVED } from "./pg-sent.ts";
import { resultAttributes } from "./pg-statement.ts";

// What becomes of a statement: the object that pg queues, submits and tells of the server's answers.

type Statement = Sent | typeof UNOBSERVED;

// oxlint-disable-next-line typescript/no-extraneous-class -- its constructor is all that it is for
class Itself {
  constructor(object: object) {
    // oxlint-disable-next-line no-constructor-return -- a class can give its private fields to any object in this way
    return object;
  }
}

/** A query's statement, as a private field of the query: nobody sees it, and it costs a fifth of an entry in a WeakMap. */
class Mark extends Itself {
  #statement: Statement;

  private constructor(query: object, statement: Statement) {
    super(query);
    this.#statement = statement;
  }

  static of(query: object): Statement | undefined {
    return #statement in query ? query.#statement : undefined;
  }

  static set(query: object, statement: Statement): void {
    if (#statement in query) query.#statement = statement;
    else void new Mark(query, statement);
  }
}

/** Whose `submit` is running: what is written to the connection is its text. */
let submitting: Statement | undefined;

export function statementOf(query: unknown): Statement | undefined {
  return isObject(query) ? Mark.of(query) : undefined;
}

export function submittingNow(): Statement | undefined {
  return submitting;
}

export function setStatement(query: object, sent: Statement): void {
  Mark.set(query, sent);
}

export function isSubmittable(value: unknown): value is Record<PropertyKey, unknown> {
  return isObject(value) && isFunction(value["submit"]);
}

/**
 * What is wrapped on a query object of the application (pg's own Query, a cursor, a query stream, a COPY). On the object
 * itself: a query stream has these as properties of its own, bound to its cursor.
 */
const OWN: Readonly<Record<string, (original: AnyFunction) => AnyFunction>> = {
  submit: wrapSubmit,
  handleReadyForQuery: wrapReady,
  handleError: wrapError,
  // A cursor calls back from these, and all of them emit: a row belongs to the one who asked.
  handlePortalSuspended: wrapEvent,
  emit: wrapEvent,
};

/** Follows a query object of the application to its end. */
export function follow(query: Record<PropertyKey, unknown>, sent: Statement): void {
  const isKnown = Mark.of(query) !== undefined;
  Mark.set(query, sent);
  // Of a frozen one what it sends is still judged, by the connection.
  if (isKnown || !Object.isExtensible(query)) return;
  for (const [name, wrap] of Object.entries(OWN)) replace(query, name, wrap);
}

/** pg hands an error that `submit` returns to the caller, in the way of the call that it was, and goes on. */
export function wrapSubmit(original: AnyFunction): AnyFunction {
  return function (this: unknown, connection: unknown): unknown {
    const sent = statementOf(this);
    if (sent instanceof Sent && sent.operation?.denied !== undefined) return sent.operation.denied;
    const before = submitting;
    submitting = sent ?? before;
    try {
      return Reflect.apply(original, this, [connection]);
    } catch (error) {
      if (error instanceof AuditPolicyDeniedError) return error;
      if (sent instanceof Sent) sent.end(error);
      throw error;
    } finally {
      submitting = before;
    }
  };
}

export function wrapReady(original: AnyFunction): AnyFunction {
  return function (this: unknown, connection: unknown): unknown {
    const sent = statementOf(this);
    if (!(sent instanceof Sent)) return Reflect.apply(original, this, [connection]);
    // A row that could not be parsed here: pg hands it out as the query's error.
    sent.end(property(this, "_canceledDueToError") || undefined, resultAttributes(this));
    return sent.enter(original, this, [connection]);
  };
}

export function wrapError(original: AnyFunction): AnyFunction {
  return function (this: unknown, error: unknown, connection: unknown): unknown {
    const sent = statementOf(this);
    if (!(sent instanceof Sent)) return Reflect.apply(original, this, [error, connection]);
    sent.end(error ?? "_OTHER");
    // Of a stopped statement the caller hears why, also where it would have failed anyway.
    return sent.enter(original, this, [sent.operation?.denied ?? error, connection]);
  };
}

function wrapEvent(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const sent = statementOf(this);
    return sent instanceof Sent ? sent.enter(original, this, args) : Reflect.apply(original, this, args);
  };
}
