import { createRequire } from "node:module";

/** What a query gave back. */
export interface QueryResult {
  readonly bytes: Uint8Array;
  /** Seconds inside the engine. */
  readonly elapsed: number;
  /** Rows and bytes the engine read; for an insert these are the rows and bytes of its input. */
  readonly rowsRead: number;
  readonly bytesRead: number;
}

/** The engine's own judgement of a text, from its parser. */
export interface Classification {
  readonly statementCount: number;
  /** 0 reads only, 1 changes a database, 2 changes global state, 3 controls the session or the server, 4 unknown. */
  readonly queryClass: number;
}

/** An open connection to the engine in this process. */
export type Connection = object;

/**
 * The functions of chDB's addon that are used here. Its `Session` class is not: closing one is put off until no query of
 * the whole process is running, so that short queries beside a long one would pile up connections.
 */
export interface Chdb {
  CreateConnection(path: string, args: readonly string[]): Connection;
  CloseConnection(connection: Connection): void;
  QueryAsyncConnection(connection: Connection, sql: string, format: string): Promise<QueryResult>;
  DurableClassifyAsync(connection: Connection, sql: string, database: string): Promise<Classification>;
}

const NEEDED = ["CreateConnection", "CloseConnection", "QueryAsyncConnection", "DurableClassifyAsync"] as const;

/** Loads the engine into this process (+210 MB resident). */
export function loadChdb(): Chdb {
  const fromChdb = createRequire(createRequire(import.meta.url).resolve("chdb"));
  const loader: unknown = fromChdb("./dist/loader.js");
  const addon: unknown = has(loader, "loadNative") && isFunction(loader.loadNative) ? loader.loadNative() : undefined;
  if (isChdb(addon)) return addon;
  throw new Error(`the installed chdb lacks one of ${NEEDED.join(", ")}: install chdb@3.4.0`);
}

function isChdb(addon: unknown): addon is Chdb {
  return NEEDED.every((name) => has(addon, name) && isFunction(addon[name]));
}

function isFunction(value: unknown): value is () => unknown {
  return typeof value === "function";
}

function has<Name extends string>(value: unknown, name: Name): value is Record<Name, unknown> {
  return typeof value === "object" && value !== null && name in value;
}
