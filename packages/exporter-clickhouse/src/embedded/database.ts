import { chmodSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildCatalogue } from "./catalogue.ts";
import type { Catalogue } from "./catalogue.ts";
import { loadChdb } from "./chdb.ts";
import type { Chdb, Classification, Connection, QueryResult } from "./chdb.ts";
import { exception } from "./exception.ts";
import { Memo } from "./memo.ts";
import { clearDefinitions, isApplied, setApplied } from "./schema-state.ts";
import { stringLiteral } from "./sql-tokens.ts";

/** The engine adds the whole of a statement to its exceptions, here with the client's own inside. */
const SCOPE = /: In scope SELECT formatQuerySingleLine\([\s\S]*(\([A-Z0-9_]+\))$/;

/** Who waits for whom when statements are looked at: a reader's never hold up the writer's, and neither of them a stop. */
export type Lane = "reader" | "writer" | "stop";

/** One statement for the engine. */
interface EngineStatement {
  readonly sql: string;
  readonly format: string;
  readonly settings: ReadonlyMap<string, string>;
  readonly parameters: ReadonlyMap<string, string>;
  /** Runs with `readonly = 1`: the engine refuses writes and any change of settings. */
  readonly readOnly: boolean;
  /** Name to {@link Database.kill} it by. */
  readonly tag: string;
}

/** Folders of one engine below its data directory. */
export interface EngineFolders {
  readonly engine: string;
  readonly config: string;
  /** Bodies of inserts on their way in. */
  readonly spool: string;
}

/** The engine in this process, opened with the fewest rights that do the work. */
export class Database {
  readonly version: string;
  readonly catalogue: Catalogue;
  readonly #chdb: Chdb;
  readonly #path: string;
  readonly #name: string;
  /** They keep the engine open between statements, look at statements and stop them, one at a time each. */
  readonly #lanes: Readonly<Record<Lane, ControlConnection>>;
  /** Of texts: the writer sends the same for every segment, a dashboard at every refresh. */
  readonly #printed = new Memo<string>();
  readonly #reading = new Memo<boolean>();

  private constructor(parts: {
    chdb: Chdb;
    path: string;
    name: string;
    lanes: Record<Lane, ControlConnection>;
    version: string;
    catalogue: Catalogue;
  }) {
    this.#chdb = parts.chdb;
    this.#path = parts.path;
    this.#name = parts.name;
    this.#lanes = parts.lanes;
    this.version = parts.version;
    this.catalogue = parts.catalogue;
  }

  /**
   * Opens the engine; with a schema it is first opened with all rights to create it.
   *
   * @param schema statements that may be repeated; undefined opens for reading only, with no right to insert.
   */
  static async open(folders: EngineFolders, name: string, schema: readonly string[] | undefined): Promise<Database> {
    const chdb = loadChdb();
    if (schema !== undefined && !isApplied(folders.engine, schema)) {
      clearDefinitions(folders.engine, schema);
      // A half-written configuration must not be what the engine starts with, so this goes without any.
      const owner = chdb.CreateConnection(folders.engine, []);
      try {
        for (const statement of schema) await chdb.QueryAsyncConnection(owner, statement, "Null");
        setApplied(folders.engine, schema);
      } finally {
        chdb.CloseConnection(owner);
      }
    }
    const config = writeConfig(folders.config, name, schema !== undefined);
    const control = chdb.CreateConnection(folders.engine, [`--config-file=${config}`]);
    try {
      const rows = async (sql: string): Promise<string[][]> =>
        parseRows(await chdb.QueryAsyncConnection(control, sql, "TSVRaw"));
      await checkGrants(rows);
      const catalogue = await readCatalogue(rows);
      const [[version = ""] = []] = await rows("SELECT version()");
      const lanes = {
        reader: await ControlConnection.open(chdb, chdb.CreateConnection(folders.engine, [])),
        writer: await ControlConnection.open(chdb, chdb.CreateConnection(folders.engine, [])),
        stop: await ControlConnection.open(chdb, control),
      };
      return new Database({ chdb, path: folders.engine, name, lanes, version, catalogue });
    } catch (error) {
      chdb.CloseConnection(control);
      throw error;
    }
  }

  /** Runs one statement on a connection of its own: no setting or parameter outlives it. */
  async run(statement: EngineStatement): Promise<QueryResult> {
    const connection = this.#chdb.CreateConnection(this.#path, []);
    try {
      await this.#chdb.QueryAsyncConnection(connection, this.#prelude(statement), "Null");
      return await this.#chdb.QueryAsyncConnection(connection, statement.sql, statement.format);
    } finally {
      this.#chdb.CloseConnection(connection);
    }
  }

  /**
   * The statement as the engine's own formatter prints it.
   *
   * @throws Error of the engine when it is not exactly one statement of the engine's grammar.
   */
  async canonical(sql: string, lane: Lane): Promise<string> {
    return await this.#printed.get(sql, () => this.#print(sql, lane));
  }

  /** Whether the engine's parser finds exactly one statement, and one that only reads. */
  async readsOnly(sql: string, lane: Lane): Promise<boolean> {
    return await this.#reading.get(sql, async () => {
      const found = await this.#lanes[lane].classify(sql, this.#name);
      return found.statementCount === 1 && found.queryClass === 0;
    });
  }

  async #print(sql: string, lane: Lane): Promise<string> {
    try {
      const result = await this.#lanes[lane].query(`SELECT formatQuerySingleLine(${stringLiteral(sql)})`, "TSVRaw");
      return Buffer.from(result.bytes).toString("utf8").trimEnd();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(message.replace(SCOPE, ". $1"), { cause: error });
    }
  }

  /** Stops a statement. The engine needs a moment; the statement's promise then rejects with 394. */
  async kill(tag: string): Promise<void> {
    await this.#lanes.stop.query(`KILL QUERY WHERE Settings['log_comment'] = ${stringLiteral(tag)} ASYNC`, "Null");
  }

  /** Nothing may be running. */
  close(): void {
    for (const lane of Object.values(this.#lanes)) lane.close();
  }

  #prelude(statement: EngineStatement): string {
    const values = [...statement.settings, ["log_comment", statement.tag] as const];
    for (const [name, value] of statement.parameters) values.push([`param_${name}`, value]);
    // Whatever is set after readonly would be refused.
    values.push(["readonly", statement.readOnly ? "1" : "0"]);
    const set = values.map(([name, value]) => `${name} = ${stringLiteral(value)}`);
    return `USE ${this.#name}; SET ${set.join(", ")}`;
  }
}

/** A connection that stays open. It runs one statement at a time. */
class ControlConnection {
  readonly #chdb: Chdb;
  readonly #connection: Connection;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(chdb: Chdb, connection: Connection) {
    this.#chdb = chdb;
    this.#connection = connection;
  }

  static async open(chdb: Chdb, connection: Connection): Promise<ControlConnection> {
    const control = new ControlConnection(chdb, connection);
    // Statements stand in here as literals, longer than they are by their escapes.
    await control.query("SET max_query_size = 4194304, max_execution_time = 10", "Null");
    return control;
  }

  query(sql: string, format: string): Promise<QueryResult> {
    return this.#inTurn(() => this.#chdb.QueryAsyncConnection(this.#connection, sql, format));
  }

  classify(sql: string, database: string): Promise<Classification> {
    return this.#inTurn(() => this.#chdb.DurableClassifyAsync(this.#connection, sql, database));
  }

  close(): void {
    this.#chdb.CloseConnection(this.#connection);
  }

  #inTurn<T>(call: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(call, call);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}

type AskRows = (sql: string) => Promise<string[][]>;

function parseRows(result: QueryResult): string[][] {
  const lines = Buffer.from(result.bytes).toString("utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => line.split("\t"));
}

async function readCatalogue(rows: AskRows): Promise<Catalogue> {
  const functions = await rows("SELECT name, alias_to, categories, is_aggregate FROM system.functions");
  const tableFunctions = await rows("SELECT name FROM system.table_functions");
  return buildCatalogue(
    functions.map(([name = "", aliasTo = "", categories = "", isAggregate]) => {
      return { name, aliasTo, categories, isAggregate: isAggregate === "1" };
    }),
    tableFunctions.map(([name = ""]) => name),
  );
}

/** The grants are what makes the tables append-only: without them nothing is served. */
async function checkGrants(rows: AskRows): Promise<void> {
  const grants = (await rows("SHOW GRANTS")).map((row) => row.join("\t"));
  const more = grants.filter(
    (grant) => !/^GRANT (SELECT|INSERT|SELECT, INSERT) ON `?[\w-]+`?\.\* TO default$/.test(grant),
  );
  if (grants.length === 0 || more.length > 0) {
    throw exception("ACCESS_DENIED", `the engine did not take the restricted grants, it has: ${grants.join("; ")}`);
  }
}

/** Creates the folders, for this user only. */
export function prepareFolders(dataDir: string): EngineFolders {
  const folders: EngineFolders = {
    engine: join(dataDir, "engine"),
    config: join(dataDir, "engine-config"),
    spool: join(dataDir, "engine-spool"),
  };
  for (const folder of [folders.engine, folders.config, folders.spool]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
  }
  return folders;
}

/** What a killed process left of bodies on their way in. */
export function clearSpool(folders: EngineFolders): void {
  for (const file of readdirSync(folders.spool)) rmSync(join(folders.spool, file), { force: true });
}

/**
 * chDB has one user for the whole process and no CREATE USER, but it reads that user's grants from a file. They are all the
 * rights any statement has from then on: rows in, rows out, in one database.
 */
function writeConfig(folder: string, database: string, mayInsert: boolean): string {
  const grants = mayInsert ? ["SELECT", "INSERT"] : ["SELECT"];
  const kind = mayInsert ? "writing" : "reading";
  const users = join(folder, `users-${kind}.xml`);
  const queries = grants.map((grant) => `<query>GRANT ${grant} ON ${database}.*</query>`).join("");
  write(
    users,
    `<clickhouse><users><default><password></password><profile>default</profile><quota>default</quota>` +
      `<networks><ip>::/0</ip></networks><grants>${queries}</grants></default></users>` +
      `<profiles><default><implicit_select>0</implicit_select><allow_introspection_functions>0</allow_introspection_functions>` +
      `</default></profiles><quotas><default></default></quotas></clickhouse>`,
  );
  const config = join(folder, `config-${kind}.xml`);
  write(config, `<clickhouse><users_config>${escapeXml(users)}</users_config></clickhouse>`);
  return config;
}

function write(path: string, text: string): void {
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
