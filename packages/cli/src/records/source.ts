import { ClickHouseError, createClient, type ClickHouseClient } from "@clickhouse/client";
import { DEFAULT_DATABASE, EmbeddedEngine, isEmbeddedAvailable } from "@otel-audit/exporter-clickhouse";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { refuseUnderAudit } from "../audited.ts";
import { CliError } from "../errors.ts";
import type { AuditQuery } from "./query.ts";
import { readState, type CollectorState } from "./state.ts";

export interface SourceOptions {
  /** The collector's data directory. Default `otel-audit-data`. */
  readonly data?: string;
  /** A ClickHouse server instead of a data directory. */
  readonly url?: string;
  readonly user?: string;
  readonly token?: string;
  /** Default `otel_audit`. */
  readonly database?: string;
}

/** Exception codes of ClickHouse: https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp */
const REFUSED = new Set(["192", "193", "194", "497", "516"]);
const NO_SUCH_TABLE = new Set(["60", "81"]);
/** Milliseconds without a byte of an answer. The embedded engine stops a reader's query after 60 s. */
const TIMEOUT_MS = 120_000;
/** Milliseconds to wait for a directory that another engine has open, and between two attempts. */
const LOCK_PATIENCE_MS = 15_000;
const LOCK_RETRY_MS = 200;

/** Something that answers SQL about the audit table: a running collector, a server, or the files of a stopped collector. */
export class RecordSource {
  readonly database: string;
  /** What a person should know about the answers, for example that records wait in the log. */
  readonly notice: string | undefined;
  readonly #client: ClickHouseClient;
  readonly #where: string;
  readonly #engine: EmbeddedEngine | undefined;

  private constructor(options: SourceOptions, url: string, where: string, engine?: EmbeddedEngine, notice?: string) {
    this.database = options.database ?? DEFAULT_DATABASE;
    this.notice = notice;
    this.#client = connect(url, options);
    this.#where = where;
    this.#engine = engine;
  }

  /** @throws CliError `NO_DATA` when there is nothing to ask, `USAGE` for an address that is none */
  static async open(options: SourceOptions): Promise<RecordSource> {
    if (options.url !== undefined)
      return new RecordSource(options, options.url, `the server at ${shownUrl(options.url)}`);
    const dataDir = resolve(options.data ?? "otel-audit-data");
    const state = await readState(dataDir);
    if (state?.isAlive) {
      const running = await RecordSource.#ofRunning(options, dataDir, state);
      if (running !== undefined) return running;
    }
    refuseUnderAudit("reading a data directory");
    return RecordSource.#ofFiles(options, dataDir, state);
  }

  /** Undefined: nothing answers, so the process with that number may be another one by now. */
  static async #ofRunning(
    options: SourceOptions,
    dataDir: string,
    state: CollectorState,
  ): Promise<RecordSource | undefined> {
    const { sql } = state;
    if (sql === undefined) {
      throw new CliError(
        "NO_DATA",
        `the collector (process ${state.pid}) on ${shownPath(dataDir)} writes to a ClickHouse server; ask that one with --url URL`,
      );
    }
    const source = new RecordSource(options, sql, `the collector (process ${state.pid}) at ${sql}`);
    const answer = await source.#client.ping({ select: true });
    if (answer.success) return source;
    await source.close();
    if (answer.error instanceof ClickHouseError) throw source.#explain(answer.error);
    return undefined;
  }

  static async #ofFiles(
    options: SourceOptions,
    dataDir: string,
    state: CollectorState | undefined,
  ): Promise<RecordSource> {
    if (!existsSync(dataDir)) {
      throw new CliError(
        "NO_DATA",
        `--data: there is no directory "${shownPath(dataDir)}"; give a collector's data directory with --data DIR, or a server with --url URL`,
      );
    }
    if (!existsSync(join(dataDir, "engine"))) {
      throw new CliError(
        "NO_DATA",
        `--data: "${shownPath(dataDir)}" holds no audit records; give a collector's data directory with --data DIR, or a server with --url URL`,
      );
    }
    const availability = isEmbeddedAvailable();
    if (!availability.available) {
      throw new CliError(
        "NO_DATA",
        `cannot read ${shownPath(dataDir)} without the embedded engine: ${availability.reason}`,
      );
    }
    const engine = await openEngine(dataDir, state);
    const where = `the records in ${shownPath(dataDir)}`;
    return new RecordSource(asReader(options, engine), engine.url, where, engine, await waitingInLog(dataDir));
  }

  /**
   * The rows of an answer, as they arrive.
   *
   * @throws CliError `NO_DATA`, or `FAILED` with what the server says
   */
  async *rows<Row>({ sql, params }: AuditQuery): AsyncGenerator<Row> {
    try {
      const { stream } = await this.#client.exec({ query: `${sql}\nFORMAT JSONEachRow`, query_params: params });
      for await (const line of lines(stream)) {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the query names the columns
        yield parseRow(line) as Row;
      }
    } catch (error) {
      throw this.#explain(error);
    }
  }

  async close(): Promise<void> {
    await this.#client.close();
    await this.#engine?.stop();
  }

  #explain(error: unknown): CliError {
    const cause = error instanceof Error ? error : new Error(String(error));
    if (cause instanceof CliError) return cause;
    if (!(cause instanceof ClickHouseError)) {
      return new CliError("FAILED", `${this.#where} cannot be reached: ${networkError(cause)}`, { cause });
    }
    if (REFUSED.has(cause.code)) {
      return new CliError(
        "NO_DATA",
        `${this.#where} refuses us: ${cause.message}; give --user NAME and the variable OTEL_AUDIT_TOKEN`,
        { cause },
      );
    }
    if (NO_SUCH_TABLE.has(cause.code)) {
      return new CliError(
        "NO_DATA",
        `${this.#where}: no audit tables in the database "${this.database}"; \`otel-audit schema print\` has the statements that create them`,
        { cause },
      );
    }
    return new CliError("FAILED", `${this.#where}: ${cause.message}`, { cause });
  }
}

/** Lines of a text, without empty ones. Bytes that are no UTF-8 become U+FFFD. */
async function* lines(stream: AsyncIterable<unknown>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    if (!(chunk instanceof Uint8Array)) continue;
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) if (line !== "") yield line;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}

/** An error in the middle of an answer comes as text between the rows, and another server's answer as whatever it likes. */
function parseRow(line: string): object {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    // What it says is in the error below.
  }
  if (typeof row === "object" && row !== null) return row;
  throw new CliError("FAILED", `the answer broke off: ${line.slice(0, 500)}`);
}

/** An address without what may be secret in it. */
function shownUrl(url: string): string {
  return URL.canParse(url) ? new URL(url).origin : url;
}

function shownPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere !== "" && !fromHere.startsWith("..") ? fromHere : path;
}

function asReader(options: SourceOptions, engine: EmbeddedEngine): SourceOptions {
  return { ...options, user: engine.reader.username, token: engine.reader.password };
}

/** Two engines cannot share a directory: another query, or an engine whose collector was just killed, is soon gone. */
async function openEngine(dataDir: string, state: CollectorState | undefined): Promise<EmbeddedEngine> {
  for (
    const deadline = performance.now() + (state?.isAlive ? 0 : LOCK_PATIENCE_MS);
    ;
    await setTimeout(LOCK_RETRY_MS)
  ) {
    try {
      return await EmbeddedEngine.start({ dataDir, port: 0, readOnly: true });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      if (reason.includes("is in use") && performance.now() < deadline) continue;
      const holder = state?.isAlive
        ? `; the collector (process ${state.pid}) seems to have it open, but does not answer`
        : "";
      throw new CliError("FAILED", `cannot open the records in ${shownPath(dataDir)}: ${reason}${holder}`, { cause });
    }
  }
}

function connect(url: string, { user, token }: SourceOptions): ClickHouseClient {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new CliError("USAGE", `--url: "${url}" is not an address like http://127.0.0.1:8123`);
  }
  try {
    return createClient({
      url,
      request_timeout: TIMEOUT_MS,
      application: "otel-audit",
      log: { level: 127 },
      ...(user !== undefined && { username: user }),
      ...(token !== undefined && { password: token }),
    });
  } catch (cause) {
    throw new CliError("USAGE", `--url: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Errors of connections to several addresses have a code and no message. */
function networkError(error: Error): string {
  if (error.message !== "") return error.message;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

/** Records of a collector that was killed are safe in its log, but no query sees them yet. */
async function waitingInLog(dataDir: string): Promise<string | undefined> {
  const names = await readdir(join(dataDir, "log"), { recursive: true }).catch(() => []);
  const waiting = names.filter((name) => /\.(?:open|segment)$/.test(name)).length;
  if (waiting === 0) return undefined;
  const files = waiting === 1 ? "1 file" : `${waiting} files`;
  return `records in ${files} of the log are not in the table yet, and not shown; they get there when the collector starts again: otel-audit collector --data ${shownPath(dataDir)}`;
}
