import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { authenticate, checkOrigin } from "./access.ts";
import type { AccessRules } from "./access.ts";
import type { QueryResult } from "./chdb.ts";
import { exception, toException } from "./exception.ts";
import { splitInsert } from "./insert-statement.ts";
import type { EngineLimits } from "./limits.ts";
import { frameNative } from "./native-frames.ts";
import { RequestBody } from "./request-body.ts";
import { contentType, sendException, sendResult, setSummary } from "./response.ts";
import type { Role } from "./settings.ts";
import type { Statement, Statements } from "./statements.ts";

const METHODS = ["GET", "HEAD", "POST"];
const NOT_READ = { head: Buffer.alloc(0), complete: false };

/** The engine behind the server, once it is open. */
interface OpenEngine {
  readonly statements: Statements;
  readonly version: string;
}

/** ClickHouse's HTTP interface, as far as an analyst's client and our writer need it. */
export class SqlServer {
  readonly #rules: AccessRules;
  readonly #limits: EngineLimits;
  readonly #server: Server;
  #engine: OpenEngine | undefined;

  constructor(rules: AccessRules, limits: EngineLimits) {
    this.#rules = rules;
    this.#limits = limits;
    this.#server = createServer(
      {
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        connectionsCheckingInterval: Math.min(2_000, limits.headersTimeoutMs),
        keepAliveTimeout: 10_000,
        maxHeaderSize: 64 * 1024,
      },
      (request, response) => {
        void this.#answer(request, response);
      },
    );
    this.#server.maxConnections = limits.connections;
  }

  /** Resolves with the port. Until an engine is set, requests are answered with 503. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.off("error", reject);
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  setEngine(engine: OpenEngine): void {
    this.#engine = engine;
  }

  /** Takes no more connections and ends those that are idle. */
  stopListening(): void {
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  closeConnections(): void {
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const version = this.#engine?.version ?? "starting";
    try {
      // A connection that breaks while the body is read shows there.
      request.on("error", () => undefined);
      response.on("error", () => undefined);
      await this.#route(request, response);
    } catch (error) {
      // What is left of the body is not worth reading; the client gets a moment to read the answer instead.
      if (!request.complete) {
        response.setHeader("Connection", "close");
        response.once("finish", () => setTimeout(() => request.destroy(), 1_000).unref());
      }
      sendException(response, toException(error), version);
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkOrigin(request, this.#rules);
    const url = new URL(request.url ?? "/", "http://engine");
    if (!METHODS.includes(request.method ?? "")) {
      throw exception("UNSUPPORTED_METHOD", `method ${request.method}: GET and POST are answered`);
    }
    if (url.pathname === "/ping" || url.pathname === "/replicas_status") return sendOk(response);
    if (url.pathname !== "/") {
      response.writeHead(404, { "Content-Type": "text/plain; charset=UTF-8" });
      response.end(`There is no handle ${url.pathname}\n\nUse / or /ping for health checks.\n`);
      return;
    }
    const role = authenticate(request, url.searchParams, this.#rules);
    const engine = this.#engine;
    if (engine === undefined) throw exception("ABORTED", "the engine is starting");
    checkDatabase(request, url.searchParams);
    await this.#query(request, response, url.searchParams, role, engine);
  }

  async #query(
    request: IncomingMessage,
    response: ServerResponse,
    search: URLSearchParams,
    role: Role,
    engine: OpenEngine,
  ): Promise<void> {
    const writes = role === "writer" && request.method === "POST";
    const body = new RequestBody(request, writes ? this.#limits.insertBytes : this.#limits.queryBytes);
    const inAddress = search.get("query") ?? "";
    // An insert is known by its id before its body has come; otherwise the statement, or a part of it, is the body.
    const known = writes && inAddress !== "" ? splitInsert(inAddress) : undefined;
    const { head, complete } = known === undefined ? await body.peek(this.#limits.queryBytes) : NOT_READ;
    if (inAddress === "" && head.length === 0) {
      if (request.method === "POST") throw exception("SYNTAX_ERROR", "Empty query");
      return sendOk(response);
    }
    const statement = begin(request, response, search, role);
    if (known !== undefined) {
      if (known.dataStart < inAddress.length) {
        throw exception("INCORRECT_QUERY", "data behind FORMAT in the query parameter: send it as the body");
      }
      return sendInserted(response, engine.statements.insert({ ...statement, text: known.statement }, body, 0));
    }
    // A byte is a character here, so that offsets agree.
    const inBody = writes && inAddress === "" ? splitInsert(head.toString("latin1")) : undefined;
    if (inBody !== undefined) {
      const text = decodeText(Buffer.from(inBody.statement, "latin1"));
      return sendInserted(response, engine.statements.insert({ ...statement, text }, body, inBody.dataStart));
    }
    if (!complete) {
      throw exception("QUERY_IS_TOO_LARGE", `Query is too large (${this.#limits.queryBytes} bytes at most)`);
    }
    const text = [inAddress, decodeText(head)].filter((part) => part !== "").join("\n");
    await this.#read(request, response, { ...statement, text }, engine);
  }

  async #read(
    request: IncomingMessage,
    response: ServerResponse,
    statement: Statement,
    engine: OpenEngine,
  ): Promise<void> {
    const { result, format } = await engine.statements.read(statement);
    const { rowsRead, bytesRead, elapsed } = result;
    const revision = Number(statement.search.get("client_protocol_version") ?? 0);
    const bytes = format === "Native" ? frameNative(result.bytes, revision) : result.bytes;
    setSummary(response, { readRows: rowsRead, readBytes: bytesRead, writtenRows: 0, writtenBytes: 0, elapsed });
    response.setHeader("X-ClickHouse-Format", format);
    response.setHeader("Content-Type", contentType(format));
    const compress = ["1", "true"].includes(statement.search.get("enable_http_compression") ?? "");
    await sendResult(request, response, bytes, compress);
  }
}

/** What a statement's request says about it, its text aside. */
function begin(
  request: IncomingMessage,
  response: ServerResponse,
  search: URLSearchParams,
  role: Role,
): Omit<Statement, "text"> {
  const queryId = readQueryId(search);
  response.setHeader("X-ClickHouse-Query-Id", queryId);
  response.setHeader("X-ClickHouse-Server-Display-Name", "otel-audit");
  response.setHeader("X-ClickHouse-Timezone", "UTC");
  const leaving = new AbortController();
  response.once("close", () => leaving.abort());
  return { role, queryId, search, signal: leaving.signal, defaultFormat: defaultFormat(request, search) };
}

async function sendInserted(response: ServerResponse, inserting: Promise<QueryResult>): Promise<void> {
  const { rowsRead, bytesRead, elapsed } = await inserting;
  const written = { writtenRows: rowsRead, writtenBytes: bytesRead };
  setSummary(response, { readRows: rowsRead, readBytes: bytesRead, ...written, elapsed });
  response.setHeader("Content-Type", "text/plain; charset=UTF-8");
  response.end();
}

function sendOk(response: ServerResponse): void {
  response.setHeader("Content-Type", "text/plain; charset=UTF-8");
  response.end("Ok.\n");
}

/** There is one database; `default` is what clients send that were not told. */
function checkDatabase(request: IncomingMessage, search: URLSearchParams): void {
  const database = search.get("database") ?? request.headers["x-clickhouse-database"] ?? "";
  if (!["", "default", "otel_audit"].includes(String(database))) {
    throw exception(
      "UNKNOWN_DATABASE",
      `Database ${String(database).slice(0, 128)} does not exist: there is otel_audit`,
    );
  }
}

function defaultFormat(request: IncomingMessage, search: URLSearchParams): string {
  const format = String(search.get("default_format") ?? request.headers["x-clickhouse-format"] ?? "TabSeparated");
  if (/^[A-Za-z0-9]{1,64}$/.test(format)) return format;
  throw exception("UNKNOWN_FORMAT", "Unknown format in default_format");
}

function readQueryId(search: URLSearchParams): string {
  const id = search.get("query_id") ?? "";
  if (id === "") return randomUUID();
  // It goes back in a header.
  if (/^[\x21-\x7e]{1,256}$/.test(id)) return id;
  throw exception("BAD_ARGUMENTS", "query_id: 1 to 256 printable characters without blanks are allowed");
}

/** chDB takes text: bytes that are not UTF-8 would reach it as others. */
function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw exception("SYNTAX_ERROR", "the query is not UTF-8", error);
  }
}
