import { type AnyFunction, isFunction, isObject, property } from "../unknown.ts";
import { follow, isSubmittable, setStatement, statementOf } from "./pg-query.ts";
import { send, Sent, type UNOBSERVED } from "./pg-sent.ts";
import { type Session, sessionOf } from "./pg-session.ts";

// Where statements come in: the client and its queue.

/** `error.type` of a statement that was never sent because its caller took it back. */
const CANCELLED = "cancelled";
/** … because pg refused it. */
const REFUSED = "_OTHER";

/** A call of `query` whose query object pg is about to make and to queue. */
let made: { readonly client: unknown; sent: Sent | typeof UNOBSERVED | undefined } | undefined;
/** Statements for which an approver is being asked, in all clients. */
let held = 0;

/** Where a connection leads to is known best when it is opened. */
export function wrapClientConnect(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const connection = property(this, "connection");
    if (isObject(this) && isObject(connection)) sessionOf(connection, this);
    return Reflect.apply(original, this, args);
  };
}

export function wrapQuery(original: AnyFunction): AnyFunction {
  return function (this: unknown, ...args: unknown[]): unknown {
    const [config] = args;
    const connection = property(this, "connection");
    if (!isObject(this) || !isObject(connection) || config === undefined || config === null) {
      return Reflect.apply(original, this, args);
    }
    const session = sessionOf(connection, this);
    const sent = send(session, connection, textOf(session, connection, config));
    if (sent instanceof Sent) hold(this, sent);
    const before = made;
    const mine: typeof made = { client: this, sent };
    if (isSubmittable(config)) follow(config, sent);
    else made = mine;
    try {
      return Reflect.apply(original, this, args);
    } catch (error) {
      if (sent instanceof Sent) sent.end(error);
      throw error;
    } finally {
      // Not queued: the client is closed or broken, and the caller hears of it.
      if (made === mine && sent instanceof Sent) sent.end(REFUSED);
      made = before;
    }
  };
}

/** The SQL of a query's first argument; undefined when it has none. */
function textOf(session: Session, connection: unknown, config: unknown): unknown {
  if (typeof config === "string") return config;
  // A query stream keeps its text in its cursor.
  const text = property(config, "text") ?? property(property(config, "cursor"), "text");
  const name = property(config, "name");
  if (typeof name !== "string" || name === "") return text;
  if (typeof text !== "string" || text === "") {
    return session.texts.get(name) ?? property(property(connection, "parsedStatements"), name);
  }
  // A name is used for one text only; pg refuses another.
  if (!session.texts.has(name)) session.texts.set(name, text);
  return text;
}

/** While an approver is asked, nothing of the client overtakes: the statement waits at its place in the queue. */
function hold(client: Record<PropertyKey, unknown>, sent: Sent): void {
  const decided = sent.operation?.decided;
  if (decided === undefined) return;
  sent.isHeld = true;
  held++;
  const release = (): void => {
    sent.isHeld = false;
    held--;
    const { _queryQueue: queue, _pulseQueryQueue: pulse } = client;
    // The client may have lost its connection, and the statement with it.
    if (isFunction(pulse) && Array.isArray(queue) && queue.length > 0) Reflect.apply(pulse, client, []);
  };
  void decided.then(release);
}

function isHeld(query: unknown): boolean {
  const sent = statementOf(query);
  return sent instanceof Sent && sent.isHeld;
}

/** Called after every change of the queue, also by `query` itself for the query object that it has just queued. */
export function wrapPulse(original: AnyFunction): AnyFunction {
  return function (this: unknown): unknown {
    const queue = property(this, "_queryQueue");
    if (!isObject(this) || !Array.isArray(queue)) return Reflect.apply(original, this, []);
    if (made?.client === this && made.sent !== undefined) {
      const query: unknown = queue.at(-1);
      if (isObject(query) && statementOf(query) === undefined) {
        setStatement(query, made.sent);
        made = undefined;
      }
    }
    const at = held === 0 ? -1 : queue.findIndex(isHeld);
    if (at === -1) return Reflect.apply(original, this, []);
    if (this["pipeline"] === true) return pulseBefore(this, queue, at, original);
    return at === 0 ? undefined : Reflect.apply(original, this, []);
  };
}

/** In pipeline mode pg sends the whole queue at once, and says that it is drained when there is no more. */
function pulseBefore(client: Record<PropertyKey, unknown>, queue: unknown[], at: number, original: AnyFunction): void {
  const rest = queue.splice(at);
  const hasExecuted = client["hasExecuted"];
  client["hasExecuted"] = false;
  try {
    Reflect.apply(original, client, []);
  } finally {
    client["hasExecuted"] = hasExecuted === true || client["hasExecuted"] === true;
    queue.push(...rest);
  }
}

/** `cancel` takes a query that waits out of the queue, and nobody tells the query. */
export function wrapCancel(original: AnyFunction): AnyFunction {
  return function (this: unknown, client: unknown, query: unknown, ...rest: unknown[]): unknown {
    const isQueued = (): boolean => {
      const queue = property(client, "_queryQueue");
      return Array.isArray(queue) && queue.includes(query);
    };
    const before = isQueued();
    const result = Reflect.apply(original, this, [client, query, ...rest]);
    const sent = statementOf(query);
    if (before && !isQueued() && sent instanceof Sent) sent.end(CANCELLED);
    return result;
  };
}
