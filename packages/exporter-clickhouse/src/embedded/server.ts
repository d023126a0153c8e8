/** Entry of the engine's child process. See {@link EmbeddedEngine} for the parent's side. */
import { randomBytes } from "node:crypto";
import { Database, clearSpool, prepareFolders } from "./database.ts";
import type { ChildMessage, ParentMessage, StartMessage } from "./protocol.ts";
import { SqlServer } from "./sql-server.ts";
import { Statements } from "./statements.ts";

/** Database that is served. */
const DATABASE = "otel_audit";
/** How long statements under way may take when the process is asked to end. */
const STOP_TIMEOUT_MS = 20_000;

let server: SqlServer | undefined;
let statements: Statements | undefined;
let stopping = false;

// Ctrl-C and a service manager's SIGTERM reach the whole process group. The parent still has rows to write: it says when.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => undefined);

// The parent is gone, also by kill -9: nobody is left who could write, stop or watch this process.
process.on("disconnect", () => void stop());
process.on("message", (message: ParentMessage) => void (message.type === "start" ? start(message) : stop()));

async function start(message: StartMessage): Promise<void> {
  const writerPassword = message.readOnly ? undefined : randomBytes(32).toString("base64url");
  const rules = { writerPassword, readerToken: message.token, hosts: message.hosts };
  server = new SqlServer(rules, message.limits);
  let port: number;
  try {
    port = await server.listen(message.host, message.port);
  } catch (error) {
    fail("port", error);
    return;
  }
  try {
    const folders = prepareFolders(message.dataDir);
    const database = await Database.open(folders, DATABASE, message.schema);
    // Only now is it sure that no other process has files there.
    clearSpool(folders);
    statements = new Statements(database, DATABASE, folders, message.limits);
    server.setEngine({ statements, version: database.version });
    send({ type: "ready", port, version: database.version, writerPassword });
  } catch (error) {
    fail("engine", error);
  }
}

async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.kill(process.pid, "SIGKILL"), STOP_TIMEOUT_MS).unref();
  server?.stopListening();
  await statements?.close();
  server?.closeConnections();
  process.exit(0);
}

function fail(what: "port" | "engine", error: unknown): void {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  send({ type: "failed", what, code, message: error instanceof Error ? error.message : String(error) });
}

function send(message: ChildMessage): void {
  process.send?.(message);
}
