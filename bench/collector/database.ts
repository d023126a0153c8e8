// ClickHouse for both sides of a bench: the embedded engine in a process of its own, behind an address that can be away.
// Its CPU counts for nobody.
import { EmbeddedEngine } from "@otel-audit/exporter-clickhouse";
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { join } from "node:path";
import { tempDir } from "../../test/support/index.ts";
import { closeServer, listen } from "../../test/support/listen.ts";

export interface Database {
  /** For `${env:…}` in the configurations. */
  readonly env: Readonly<Record<string, string>>;
  /** While true, connections are cut. */
  away: boolean;
  /** Process id of the engine. */
  readonly pid: number;
  rows(table: "audit_events" | "otel_traces"): Promise<number>;
  stop(): Promise<void>;
}

export async function startDatabase(): Promise<Database> {
  const engine = await EmbeddedEngine.start({ dataDir: join(tempDir("bench-database"), "engine") });
  const { url, username, password } = engine.writer;
  const server = createServer((incoming, response) => {
    if (database.away) incoming.destroy();
    else relay(incoming, response, url);
  });
  const port = await listen(server);
  const database: Database = {
    env: { CLICKHOUSE_URL: `http://127.0.0.1:${port}`, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password },
    away: false,
    pid: engine.pid,
    rows: async (table) => {
      const query = `SELECT count() FROM otel_audit.${table} FORMAT TSV`;
      return Number(await (await fetch(`${engine.reader.url}/?query=${encodeURIComponent(query)}`)).text());
    },
    stop: async () => {
      await closeServer(server);
      await engine.stop();
    },
  };
  return database;
}

function relay(incoming: IncomingMessage, response: ServerResponse, url: string): void {
  const target = new URL(incoming.url ?? "/", url);
  // contrib's exporter sends it with each SELECT, too, where the engine's reading session does not let settings be changed.
  target.searchParams.delete("async_insert");
  const { method, headers } = incoming;
  const outgoing = httpRequest(target, { method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  outgoing.once("error", () => response.destroy());
  incoming.once("error", () => outgoing.destroy());
  incoming.pipe(outgoing);
}
