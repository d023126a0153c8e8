import { once } from "node:events";
import type { Server as HttpServer } from "node:http";
import { createServer, type Server } from "node:net";

/** Starts a server on 127.0.0.1 and gives its port. `port` 0 is any free one. */
export async function listen(server: Server | HttpServer, port = 0): Promise<number> {
  const listening = once(server, "listening");
  server.listen(port, "127.0.0.1");
  await listening;
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error(`the server listens on ${String(address)}`);
  return address.port;
}

/** Closes an HTTP server and the connections that clients keep open. */
export async function closeServer(server: HttpServer): Promise<void> {
  if (!server.listening) return;
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

/**
 * A TCP port of 127.0.0.1 that was free a moment ago. Only for programs that cannot be told to listen on port 0:
 * somebody else may take the port before they do.
 */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  const closed = once(server, "close");
  server.close();
  await closed;
  return port;
}
