import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ClickHouseConnection } from "../connection.ts";
import { ClickHouseError } from "../errors.ts";
import { DEFAULT_DATABASE, schemaStatements } from "../schema.ts";
import { isLoopbackHost, READER_USER, WRITER_USER } from "./access.ts";
import { isEmbeddedAvailable } from "./availability.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { EngineLimits } from "./limits.ts";
import { describeProcess, findPortOwner } from "../port-owner.ts";
import { isChildMessage } from "./protocol.ts";
import type { ChildMessage, FailedMessage, ParentMessage, ReadyMessage, StartMessage } from "./protocol.ts";

/** How an {@link EmbeddedEngine} starts. */
export interface EmbeddedEngineOptions {
  /** Directory for the engine's files (`engine`, `engine-config`, `engine-spool` in it). Created when missing. */
  readonly dataDir: string;
  /** Address to listen on. Default `127.0.0.1`. Any other than loopback demands a token. */
  readonly host?: string;
  /** TCP port, 0 to 65535. Default 0: a free one. ClickHouse's own is 8123. */
  readonly port?: number;
  /**
   * What readers send as password (user `reader` or `default`) or as Bearer token. Default: none, whoever reaches the
   * loopback address may read.
   */
  readonly token?: string;
  /** Opens an existing directory without a role that could write. Default false. */
  readonly readOnly?: boolean;
  /** Bounds of queries and requests. Default {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<EngineLimits>;
  /** Where the engine's own messages go, line by line. Default: nowhere. */
  readonly log?: (line: string) => void;
}

/** An address with a user of the engine's. */
export type EmbeddedConnection = Required<Omit<ClickHouseConnection, "tls">>;

/** How the engine's process ended. */
export interface EngineExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether `stop()` asked for it. */
  readonly expected: boolean;
}

/** Loading 540 MB from a cold disk takes its time; recovering many parts as well. */
const START_TIMEOUT_MS = 60_000;
/** After this long a process that was asked to end is killed. The child gives up a little earlier by itself. */
const STOP_TIMEOUT_MS = 25_000;
/** Lines of the engine's messages that are kept for the error when it does not start. */
const KEPT_LINES = 5;

/**
 * ClickHouse in a child process (chDB, +210 MB resident), served over ClickHouse's HTTP interface. A runaway query or a
 * crash of the engine ends that process and not this one; starting it again is the caller's business. When this process
 * ends, in whatever way, the child ends too.
 */
export class EmbeddedEngine {
  /** `http://127.0.0.1:8123` */
  readonly url: string;
  /** May insert into the tables of `otel_audit` and read them; nothing else, and neither may anybody else. */
  readonly writer: EmbeddedConnection;
  /** May read. */
  readonly reader: EmbeddedConnection;
  readonly pid: number;
  /** ClickHouse's version. */
  readonly version: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<EngineExit>;
  readonly #watchers = new Set<(exit: EngineExit) => void>();
  #exit: EngineExit | undefined;
  #stopping = false;

  private constructor(child: ChildProcess, options: EmbeddedEngineOptions, ready: ReadyMessage) {
    const host = options.host ?? "127.0.0.1";
    this.url = `http://${reachable(host)}:${ready.port}`;
    const database = DEFAULT_DATABASE;
    this.reader = { url: this.url, username: READER_USER, password: options.token ?? "", database };
    this.writer = { url: this.url, username: WRITER_USER, password: ready.writerPassword ?? "", database };
    this.pid = child.pid ?? 0;
    this.version = ready.version;
    this.#child = child;
    this.#exited = new Promise((done) => {
      child.once("exit", (code, signal) => {
        const exit = { code, signal, expected: this.#stopping };
        this.#exit = exit;
        done(exit);
        for (const watcher of this.#watchers) watcher(exit);
      });
    });
  }

  /**
   * Resolves when the engine answers.
   *
   * @throws ClickHouseError `INVALID_OPTION`; `ENGINE_UNAVAILABLE` when chDB is missing; `ENGINE_START` when the port or the
   *   directory is taken (the message names by whom, where the system tells) or the engine failed.
   */
  static async start(options: EmbeddedEngineOptions): Promise<EmbeddedEngine> {
    const message = startMessage(options);
    const availability = isEmbeddedAvailable();
    if (!availability.available) throw new ClickHouseError("ENGINE_UNAVAILABLE", availability.reason);
    const child = forkServer();
    const lines = collectLines(child, options.log);
    try {
      const answer = await firstAnswer(child, message);
      if (answer.type === "failed") throw await startError(answer, message, lines);
      return new EmbeddedEngine(child, options, answer);
    } catch (error) {
      child.kill("SIGKILL");
      if (error instanceof ClickHouseError) throw error;
      throw new ClickHouseError("ENGINE_START", [String(error), ...lines].join("\n"), { cause: error });
    }
  }

  /** Calls back once the process has ended, also when it has already. */
  onExit(callback: (exit: EngineExit) => void): void {
    const exit = this.#exit;
    if (exit === undefined) this.#watchers.add(callback);
    else queueMicrotask(() => callback(exit));
  }

  /** Lets inserts under way finish, stops queries, and ends the process; by force when it does not end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      if (this.#child.connected) send(this.#child, { type: "stop" });
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await this.#exited;
      clearTimeout(timer);
    }
  }
}

function startMessage(options: EmbeddedEngineOptions): StartMessage {
  const { host = "127.0.0.1", port = 0, token, readOnly = false } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw invalid(`port ${port}: 0 to 65535 are allowed`);
  if (token === "") throw invalid("token: an empty one protects nothing; leave it out or set one");
  const loopback = isLoopbackHost(host);
  if (!loopback && token === undefined) {
    throw invalid(`host ${host} is not a loopback address: a token is required there`);
  }
  const dataDir = resolve(options.dataDir);
  // The path stands in INFILE, where these are a pattern.
  if (/[*?{}]/.test(dataDir)) throw invalid(`dataDir ${dataDir}: *, ?, { and } are not allowed in the path`);
  if (readOnly && !existsSync(join(dataDir, "engine"))) throw invalid(`dataDir ${dataDir}: holds no embedded database`);
  return {
    type: "start",
    dataDir,
    host,
    port,
    token,
    hosts: loopback ? [host.toLowerCase()] : undefined,
    readOnly,
    schema: readOnly ? undefined : schemaStatements(),
    limits: { ...DEFAULT_LIMITS, ...options.limits },
  };
}

function forkServer(): ChildProcess {
  const entry = fileURLToPath(new URL(`./server${extname(import.meta.url)}`, import.meta.url));
  const { NODE_OPTIONS: _options, ...environment } = process.env;
  return fork(entry, [], {
    // Neither a debugger's flags nor our own instrumentation's --import belong in there.
    execArgv: [],
    // Blocking calls of the engine run on libuv's threads, beside files and compression. Answers do not depend on the
    // machine's time zone.
    env: { ...environment, UV_THREADPOOL_SIZE: "16", TZ: "UTC" },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    serialization: "advanced",
  });
}

function collectLines(child: ChildProcess, log: ((line: string) => void) | undefined): string[] {
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on("line", (line) => {
      if (line.trim() === "") return;
      lines.push(line.trim());
      if (lines.length > KEPT_LINES) lines.shift();
      log?.(line);
    });
  }
  return lines;
}

function firstAnswer(child: ChildProcess, message: StartMessage): Promise<ChildMessage> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${START_TIMEOUT_MS} ms`)), START_TIMEOUT_MS);
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      finish();
    };
    child.once("message", (answer) => {
      settle(() =>
        isChildMessage(answer) ? resolve(answer) : reject(new Error("the engine's process answers nonsense")),
      );
    });
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", (code, signal) => {
      settle(() => reject(new Error(`the engine's process ended while starting (${signal ?? `exit code ${code}`})`)));
    });
    send(child, message);
  });
}

function send(child: ChildProcess, message: ParentMessage): void {
  // A child that has gone is noticed by its exit.
  child.send(message, () => undefined);
}

async function startError(
  answer: FailedMessage,
  message: StartMessage,
  lines: readonly string[],
): Promise<ClickHouseError> {
  if (answer.what === "port" && answer.code === "EADDRINUSE") {
    const owner = await findPortOwner(message.port);
    const by = owner === undefined ? "" : ` by ${owner}`;
    return new ClickHouseError("ENGINE_START", `port ${message.port} on ${message.host} is in use${by}`);
  }
  if (lines.some((line) => line.includes("Cannot lock file"))) {
    return new ClickHouseError(
      "ENGINE_START",
      `the database in ${message.dataDir} is in use${await lockOwner(message.dataDir)}`,
    );
  }
  return new ClickHouseError("ENGINE_START", [answer.message, ...lines].join("\n"));
}

/** The engine writes its process id into the file that it locks. */
async function lockOwner(dataDir: string): Promise<string> {
  try {
    const pid = /^PID: (\d+)$/m.exec(readFileSync(join(dataDir, "engine", "status"), "utf8"))?.[1];
    return pid === undefined ? "" : ` by ${await describeProcess(Number(pid))}`;
  } catch {
    return "";
  }
}

/** An address that one can connect to, for one that means all of them. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

function invalid(message: string): ClickHouseError {
  return new ClickHouseError("INVALID_OPTION", message);
}
