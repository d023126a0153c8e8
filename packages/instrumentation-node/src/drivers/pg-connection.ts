import { observes } from "../audit.ts";
import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { submittingNow } from "./pg-query.ts";
import { Sent, UNOBSERVED } from "./pg-sent.ts";
import { sessionOf } from "./pg-session.ts";

// What is sent, whoever wrote it: pg's own queries, other people's submittables, somebody with a hand on the connection.

/** A statement that was sent without a call of `query`, and whose preparation was judged but not yet bound. */
const parsed = new WeakMap<object, Sent>();

/** A simple query. */
export function wrapText(original: AnyFunction): AnyFunction {
  return function (this: unknown, text: unknown, ...rest: unknown[]): unknown {
    if (isObject(this)) check(this, text);
    return Reflect.apply(original, this, [text, ...rest]);
  };
}

/** A statement to be run by its name; an unnamed one, by the next bind. */
export function wrapParse(original: AnyFunction): AnyFunction {
  return function (this: unknown, query: unknown, ...rest: unknown[]): unknown {
    if (!isObject(this) || !isObject(query)) return Reflect.apply(original, this, [query, ...rest]);
    const text = property(query, "text");
    const name = nameOf(property(query, "name"));
    const own = check(this, text);
    if (own !== undefined) parsed.set(this, own);
    sessionOf(this).texts.set(name, text);
    // As it was judged: an object may give another text when it is asked again.
    const frozen = { name: property(query, "name"), text, types: property(query, "types") };
    return Reflect.apply(original, this, [frozen, ...rest]);
  };
}

/** Runs what was parsed under a name. */
export function wrapBind(original: AnyFunction): AnyFunction {
  return function (this: unknown, config: unknown, ...rest: unknown[]): unknown {
    if (isObject(this)) {
      const name = nameOf(property(config, "statement"));
      const text = sessionOf(this).texts.get(name) ?? property(property(this, "parsedStatements"), name);
      if (parsed.get(this)?.passes(text) === true) parsed.delete(this);
      else check(this, text);
    }
    return Reflect.apply(original, this, [config, ...rest]);
  };
}

function nameOf(name: unknown): string {
  return typeof name === "string" ? name : "";
}

/**
 * Lets pass what was judged; judges what was not. The statement, where it is one of its own.
 * @throws AuditPolicyDeniedError before anything is written
 */
function check(connection: Record<PropertyKey, unknown>, given: unknown): Sent | undefined {
  // pg sends what is falsy as the empty statement.
  const text = given || "";
  const statement = submittingNow();
  if (statement === UNOBSERVED || statement?.passes(text) === true) return undefined;
  if (statement === undefined && !observes()) return undefined;
  const sent = statement ?? new Sent(sessionOf(connection), connection);
  if (statement === undefined) sent.judge(text, false);
  else sent.judgeAgain(text);
  const denied = sent.operation?.denied;
  if (denied !== undefined) throw denied;
  if (statement !== undefined) return undefined;
  endWith(connection, sent);
  return sent;
}

/** What ends a statement that no query object stands for: the connection's next word about any. */
function endWith(connection: Record<PropertyKey, unknown>, sent: Sent): void {
  const { on, off } = connection;
  if (!isFunction(on) || !isFunction(off)) return sent.end();
  const ends: Readonly<Record<string, AnyFunction>> = {
    readyForQuery: () => done(),
    errorMessage: (error) => done(error ?? "_OTHER"),
    error: (error) => done(error ?? "_OTHER"),
    end: () => done("_OTHER"),
  };
  const done = (error?: unknown): void => {
    for (const [event, listener] of Object.entries(ends)) Reflect.apply(off, connection, [event, listener]);
    sent.end(error);
  };
  for (const [event, listener] of Object.entries(ends)) Reflect.apply(on, connection, [event, listener]);
}
