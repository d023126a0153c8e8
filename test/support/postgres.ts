import { fileURLToPath } from "node:url";
import { startProcess } from "./process.ts";

export interface Postgres {
  readonly host: "127.0.0.1";
  readonly port: number;
  readonly user: "postgres";
  readonly password: "postgres";
  readonly database: "postgres";
  /** The connection as one `postgresql://` URL. */
  readonly url: string;
  /** Ends the server at once; what is connected loses its connection. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts PostgreSQL (PGlite behind its socket server) in memory, on a free port. It runs in a process of its own, so
 * that what a test patches in this one is not in it.
 *
 * Up to 50 connections, one query at a time: all of them share one PostgreSQL session, so a SET or a temporary table of
 * one is seen by the others. A transaction holds the others off until it ends.
 *
 * @param options.sql statements to run before anyone can connect
 */
export async function startPostgres(options: { readonly sql?: string } = {}): Promise<Postgres> {
  const script = fileURLToPath(new URL("postgres-server.ts", import.meta.url));
  const server = await startProcess(process.execPath, [script], { env: { NODE_OPTIONS: undefined } });
  const close = (): Promise<void> => server[Symbol.asyncDispose]();
  try {
    server.stdin.end(options.sql ?? "");
    const line = await server.waitForLine(/^listening on \d+$/, 60_000);
    const port = Number(line.split(" ").at(-1));
    return {
      host: "127.0.0.1",
      port,
      user: "postgres",
      password: "postgres",
      database: "postgres",
      url: `postgresql://postgres:postgres@127.0.0.1:${port}/postgres`,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
