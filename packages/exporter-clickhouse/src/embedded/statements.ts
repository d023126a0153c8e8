import { randomUUID } from "node:crypto";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { QueryResult } from "./chdb.ts";
import type { Database, EngineFolders } from "./database.ts";
import { exception } from "./exception.ts";
import { readInsert } from "./insert-statement.ts";
import type { InsertStatement } from "./insert-statement.ts";
import type { EngineLimits } from "./limits.ts";
import { checkRead } from "./read-gate.ts";
import type { RequestBody } from "./request-body.ts";
import { RunningStatements } from "./running.ts";
import { readingSettings, readSettings } from "./settings.ts";
import type { RequestSettings, Role } from "./settings.ts";
import { Slots } from "./slots.ts";
import { isWord } from "./sql-tokens.ts";
import type { Token } from "./sql-tokens.ts";

/** A statement as it came, with who sent it. */
export interface Statement {
  readonly role: Role;
  readonly queryId: string;
  readonly text: string;
  readonly search: URLSearchParams;
  /** Format without a FORMAT clause. */
  readonly defaultFormat: string;
  /** Fires when the client goes away. */
  readonly signal: AbortSignal;
}

/** A result with the format it is in. */
interface StatementResult {
  readonly result: QueryResult;
  readonly format: string;
}

const WRITERS_SYSTEM_TABLES: ReadonlySet<string> = new Set(["processes"]);

const KILL_AGAIN_MS = 250;

/** Decides what may run, waits for its turn, and runs it. */
export class Statements {
  readonly #database: Database;
  readonly #name: string;
  readonly #folders: EngineFolders;
  readonly #limits: EngineLimits;
  readonly #slots: Record<Role, Slots>;
  readonly #running = new RunningStatements();
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed = false;

  constructor(database: Database, name: string, folders: EngineFolders, limits: EngineLimits) {
    this.#database = database;
    this.#name = name;
    this.#folders = folders;
    this.#limits = limits;
    this.#slots = {
      reader: new Slots(limits.readerQueries, limits.waiting),
      writer: new Slots(limits.writerQueries, limits.waiting),
    };
  }

  /** @throws an exception of this server or the engine. */
  async read(statement: Statement): Promise<StatementResult> {
    const asked = readSettings(statement.search, "read");
    const settings = readingSettings(asked.settings, statement.role, this.#limits);
    return await this.#inTurn(statement, "Select", async () => {
      const { sql, tokens } = await this.#judge(statement, asked);
      const format = formatOf(tokens) ?? statement.defaultFormat;
      const parameters = asked.parameters;
      const text = this.#running.rewrite(sql, tokens);
      const run = { sql: text, format, settings, parameters, readOnly: true, tag: statement.queryId };
      return { result: await this.#untilLeft(statement, () => this.#database.run(run)), format };
    });
  }

  /**
   * Inserts a body.
   *
   * @param text the statement without its data.
   * @param dataStart where in the body the data begins.
   */
  async insert(statement: Statement, body: RequestBody, dataStart: number): Promise<QueryResult> {
    const { settings, parameters } = readSettings(statement.search, "insert");
    if (parameters.size > 0) throw exception("BAD_ARGUMENTS", "an INSERT takes no bound parameters here");
    const insert = await this.#readInsert(statement.text);
    const path = join(this.#folders.spool, `insert-${randomUUID()}`);
    return await this.#inTurn(statement, "Insert", async () => {
      const size = await body.writeTo(path, dataStart);
      try {
        // From here on the client's leaving changes nothing: the statement stays in the list until the engine is done.
        if (statement.signal.aborted) throw exception("QUERY_WAS_CANCELLED", "the client went away");
        if (size === 0) return NOTHING;
        const tag = statement.queryId;
        const format = "Null";
        const noParameters = new Map<string, string>();
        return await this.#database.run({
          sql: insert.toSql(path),
          format,
          settings,
          parameters: noParameters,
          readOnly: false,
          tag,
        });
      } finally {
        await unlink(path).catch(() => undefined);
      }
    });
  }

  /** Refuses what comes, stops what reads, and waits for inserts under way. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#inFlight.size > 0) {
      for (const { queryId, kind } of this.#running.list()) {
        if (kind === "Select") await this.#database.kill(queryId).catch(() => undefined);
      }
      await Promise.race([Promise.allSettled(this.#inFlight), sleep(KILL_AGAIN_MS)]);
    }
    this.#database.close();
  }

  async #judge(statement: Statement, asked: RequestSettings): Promise<{ sql: string; tokens: Token[] }> {
    const text = checkText(statement.text, this.#limits.queryBytes);
    const sql = await this.#database.canonical(text, statement.role);
    const tables = statement.role === "writer" ? WRITERS_SYSTEM_TABLES : undefined;
    const tokens = checkRead({ sql, parameters: asked.parameters }, this.#database.catalogue, tables);
    // Two opinions from the engine itself: the text that is printed and looked at is the text that runs.
    if (!(await this.#database.readsOnly(sql, statement.role))) {
      throw exception(
        "READONLY",
        "Cannot execute query in readonly mode: exactly one statement that only reads is allowed",
      );
    }
    return { sql, tokens };
  }

  async #readInsert(text: string): Promise<InsertStatement> {
    const canonical = await this.#database.canonical(checkText(text, this.#limits.queryBytes), "writer");
    return readInsert(canonical, this.#name);
  }

  async #inTurn<T>(statement: Statement, kind: "Insert" | "Select", call: () => Promise<T>): Promise<T> {
    if (this.#closed) throw exception("ABORTED", "the engine is shutting down");
    this.#running.add(statement.queryId, { role: statement.role, kind, query: statement.text.slice(0, 4096) });
    const work = (async (): Promise<T> => {
      const release = await this.#slots[statement.role].acquire(statement.signal);
      try {
        return await call();
      } finally {
        release();
      }
    })();
    this.#inFlight.add(work);
    try {
      return await work;
    } finally {
      this.#inFlight.delete(work);
      this.#running.remove(statement.queryId);
    }
  }

  /** Nobody is waiting for the answer of a client that left: the engine is told to stop, until it has. */
  async #untilLeft<T>(statement: Statement, run: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const stop = (): void => {
      this.#database.kill(statement.queryId).catch(() => undefined);
      // The first call may come before the engine knows the query.
      timer = setTimeout(stop, KILL_AGAIN_MS);
    };
    statement.signal.addEventListener("abort", stop, { once: true });
    try {
      return await run();
    } finally {
      statement.signal.removeEventListener("abort", stop);
      clearTimeout(timer);
    }
  }
}

const NOTHING: QueryResult = { bytes: new Uint8Array(0), elapsed: 0, rowsRead: 0, bytesRead: 0 };

function checkText(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) > maxBytes)
    throw exception("QUERY_IS_TOO_LARGE", `Query is too large (${maxBytes} bytes at most)`);
  if (text.includes("\0")) throw exception("SYNTAX_ERROR", "a NUL byte in the query");
  if (text.trim() === "") throw exception("SYNTAX_ERROR", "Empty query");
  return text;
}

/** The FORMAT clause stands outside of all parentheses and has only SETTINGS behind it. */
function formatOf(tokens: readonly Token[]): string | undefined {
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    if (token.kind === "symbol" && token.text === "(") depth++;
    if (token.kind === "symbol" && token.text === ")") depth--;
    const name = tokens[index + 1];
    const after = tokens[index + 2];
    const isLast = after === undefined || isWord(after, "SETTINGS");
    if (depth === 0 && isWord(token, "FORMAT") && name?.kind === "name" && isLast) return name.text;
  }
  return undefined;
}
