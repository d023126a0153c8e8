import { ATTR_DB_NAMESPACE } from "@otel-audit/semantic-conventions";
import {
  ATTR_DB_SYSTEM_NAME,
  ATTR_NETWORK_TRANSPORT,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
} from "@otel-audit/semantic-conventions";

import type { ObservedAction } from "../audit.ts";
import type { SessionEffect, SqlClassification } from "../sql/classification.ts";
import { parsePath } from "../sql/effects.ts";
import { type DatabaseAddress, databaseId, DEFAULT_PATH, type SearchPath } from "../sql/targets.ts";
import { isFunction, property } from "../unknown.ts";
import { describe } from "./pg-statement.ts";

const OPEN: SearchPath = { schemas: [], isOpen: true };
/** Longer search paths are not followed. */
const MAX_SCHEMAS = 8;

/**
 * What is known of a connection's session: where it leads to, what names without schema mean on it, what its prepared
 * statements are. Where that is in doubt (a change is under way, or in a transaction that may be rolled back), a name
 * means everything that it could.
 */
export class Session {
  readonly id: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** Texts of the protocol's named statements: pg runs them again by their name alone. */
  readonly texts = new Map<string, unknown>();
  /** Statements that were prepared in SQL. */
  readonly #prepared = new Map<string, SqlClassification>();
  readonly #start: SearchPath;
  /** Of the session, without what a transaction under way changes. */
  #base: SearchPath;
  #path: SearchPath;
  /** What the server itself says, which PostgreSQL 18 does. */
  #reported: SearchPath | undefined;
  /** Changes of the path that are under way. */
  #pending = 0;
  #isIdle = false;
  #isWatched = false;
  #actions = new WeakMap<SqlClassification, ObservedAction>();

  constructor(address: DatabaseAddress, options: unknown) {
    this.id = databaseId(address);
    this.attributes = {
      [ATTR_DB_SYSTEM_NAME]: "postgresql",
      [ATTR_DB_NAMESPACE]: address.database,
      [ATTR_SERVER_ADDRESS]: address.host,
      ...(address.host.startsWith("/")
        ? { [ATTR_NETWORK_TRANSPORT]: "unix" }
        : address.port !== 5432 && { [ATTR_SERVER_PORT]: address.port }),
    };
    this.#start = pathInOptions(options);
    this.#base = this.#start;
    this.#path = this.#start;
  }

  /** What the server says about a setting. */
  report(name: unknown, value: unknown): void {
    if (name !== "search_path" || typeof value !== "string") return;
    this.#reported = pathOf(parsePath(value));
    if (this.#pending === 0) this.#settle();
  }

  /** A statement as it is on this connection: an EXECUTE is what was prepared. */
  resolve(classification: SqlClassification): SqlClassification {
    const name = classification.executes;
    return (name === undefined ? undefined : this.#prepared.get(name)) ?? classification;
  }

  /** The audit action of a classified statement. */
  action(classification: SqlClassification): ObservedAction {
    let action = this.#actions.get(classification);
    if (action === undefined) {
      action = describe(this.id, this.attributes, classification, this.#path);
      this.#actions.set(classification, action);
    }
    return action;
  }

  /** A statement with effects was called: names may mean something else from here on. */
  announce(effects: readonly SessionEffect[], connection: unknown): void {
    this.#forget(effects);
    const paths = this.#pathsOf(effects);
    if (paths.length === 0) return;
    this.#watch(connection);
    this.#pending++;
    this.#move(paths.reduce(union, this.#path));
  }

  /** It has ended, one way or the other; `outcome` undefined: it was never sent. */
  conclude(classification: SqlClassification, outcome: "success" | "failure" | undefined): void {
    const { effects = [], operations } = classification;
    if (outcome !== undefined) this.#forget(effects);
    const [first] = effects;
    if (outcome === "success" && first?.kind === "prepare") this.#prepared.set(first.name, asExecuted(classification));
    const paths = this.#pathsOf(effects);
    if (paths.length === 0) return;
    this.#pending--;
    const lasting = this.#pathsOf(effects.filter((effect) => effect.kind !== "path" || !effect.isLocal));
    // Nothing but SET, and no transaction that could take it back: the last one holds.
    const isCertain = outcome === "success" && this.#isIdle && operations.every((name) => name === "SET");
    if (outcome !== undefined)
      this.#base = (isCertain ? lasting.at(-1) : undefined) ?? lasting.reduce(union, this.#base);
    this.#settle();
  }

  #settle(): void {
    if (this.#pending > 0) return;
    if (this.#reported !== undefined) this.#base = this.#reported;
    if (this.#reported !== undefined || this.#isIdle) this.#move(this.#base);
  }

  #move(path: SearchPath): void {
    if (isSame(path, this.#path)) return;
    this.#path = path;
    this.#actions = new WeakMap();
  }

  #pathsOf(effects: readonly SessionEffect[]): SearchPath[] {
    return effects.flatMap((effect) => {
      if (effect.kind === "path") return [pathOf(effect.schemas)];
      return effect.kind === "path_reset" ? [this.#start] : [];
    });
  }

  #forget(effects: readonly SessionEffect[]): void {
    for (const effect of effects) {
      if (effect.kind !== "forget") continue;
      if (effect.name === undefined) this.#prepared.clear();
      else this.#prepared.delete(effect.name);
    }
  }

  /** Whether a transaction is open is only of interest once the path was changed. */
  #watch(connection: unknown): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    const prepend = property(connection, "prependListener");
    if (!isFunction(prepend)) return;
    Reflect.apply(prepend, connection, [
      "readyForQuery",
      (message: unknown) => {
        this.#isIdle = property(message, "status") === "I";
        this.#settle();
      },
    ]);
  }
}

/** An EXECUTE does what was prepared, and is named as what it is. */
function asExecuted(prepared: SqlClassification): SqlClassification {
  const { action, tables, database, schemas, summary } = prepared;
  return {
    action,
    operations: ["EXECUTE"],
    tables,
    database,
    summary: summary.replace(/^PREPARE\b/, "EXECUTE"),
    ignorable: false,
    ...(schemas !== undefined && { schemas }),
  };
}

/** `options` as the server takes them at the start: `-c search_path=a,b`. */
function pathInOptions(options: unknown): SearchPath {
  if (typeof options !== "string" || !/search[_-]path/i.test(options)) return DEFAULT_PATH;
  const values = [...options.matchAll(/(?:-c\s*|--)search[_-]path=((?:\\.|[^\s\\])*)/gi)];
  const value = values.at(-1)?.[1]?.replaceAll(/\\(.)/g, "$1");
  return pathOf(value === undefined ? undefined : parsePath(value));
}

function pathOf(schemas: readonly string[] | undefined): SearchPath {
  if (schemas === undefined || schemas.length > MAX_SCHEMAS) return OPEN;
  // "$user" is, as in the default path, taken to be no schema.
  const names = [...new Set(schemas)].filter((name) => name !== "$user" && name !== "");
  return { schemas: names.length === 0 ? ["pg_catalog"] : names, isOpen: false };
}

function union(a: SearchPath, b: SearchPath): SearchPath {
  const schemas = [...new Set([...a.schemas, ...b.schemas])];
  return a.isOpen || b.isOpen || schemas.length > MAX_SCHEMAS ? OPEN : { schemas, isOpen: false };
}

function isSame(a: SearchPath, b: SearchPath): boolean {
  return (
    a.isOpen === b.isOpen &&
    a.schemas.length === b.schemas.length &&
    a.schemas.every((name, index) => name === b.schemas[index])
  );
}

const sessions = new WeakMap<object, Session>();

/** The session of a connection; `client` is whose it is, where that is known. */
export function sessionOf(connection: object, client?: object): Session {
  let session = sessions.get(connection);
  if (session === undefined) {
    const address = client === undefined ? addressOfStream(connection) : addressOf(client);
    const own = new Session(address, property(property(client, "connectionParameters"), "options"));
    session = own;
    sessions.set(connection, session);
    const on = property(connection, "on");
    if (isFunction(on)) {
      const hear = (message: unknown): void =>
        own.report(property(message, "parameterName"), property(message, "parameterValue"));
      Reflect.apply(on, connection, ["parameterStatus", hear]);
    }
  }
  return session;
}

/** As `Client.prototype.connect` takes it; the parameters come from options, URL, environment and defaults. */
function addressOf(client: object): DatabaseAddress {
  const parameters = property(client, "connectionParameters");
  const field = (name: string): unknown => property(client, name) ?? property(parameters, name);
  return address(field("host"), field("port"), field("database"));
}

/** A connection without a client: somebody uses pg's inner parts. */
function addressOfStream(connection: object): DatabaseAddress {
  const stream = property(connection, "stream");
  return address(property(stream, "remoteAddress"), property(stream, "remotePort"), "");
}

function address(host: unknown, port: unknown, database: unknown): DatabaseAddress {
  const number = Number(port);
  return {
    host: typeof host === "string" && host !== "" ? host : "localhost",
    port: Number.isInteger(number) && number > 0 ? number : 5432,
    database: typeof database === "string" ? database : "",
  };
}
