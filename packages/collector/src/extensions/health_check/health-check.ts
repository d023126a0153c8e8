import type { IncomingMessage, ServerResponse } from "node:http";
import type { Component, Health, SupervisorContext } from "../../component.ts";
import { isLoopback, isLoopbackHostHeader, offsetPort } from "../../config/address.ts";
import { HttpServer } from "../../service/http-server.ts";
import type { HealthCheckConfig } from "./config.ts";

/** Answers 200 while every component works and 503 while one does not; the reasons are for this machine only. */
export class HealthCheck implements Component {
  readonly #server: HttpServer;
  readonly #path: string;
  readonly #health: Health;

  constructor(config: HealthCheckConfig, { id, health, portOffset }: SupervisorContext) {
    this.#path = config.path;
    this.#health = health;
    const what = `extensions::${id}::endpoint`;
    this.#server = new HttpServer(
      what,
      { address: offsetPort(config.endpoint, portOffset, what) },
      (request, response) => this.#answer(request, response),
    );
  }

  get endpoint(): string | undefined {
    return this.#server.url;
  }

  start(): Promise<void> {
    return this.#server.listen();
  }

  shutdown(): Promise<void> {
    return this.#server.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    // A client with the wrong port must not take an answer for an acknowledgement.
    if (request.url?.split("?", 1)[0] !== this.#path) {
      response.writeHead(404).end(`not found; the health is on ${this.#path}\n`);
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end();
      return;
    }
    const problems = this.#health.problems();
    const well = problems.size === 0;
    const status = well ? "Server available" : "Server not available";
    response.writeHead(well ? 200 : 503, { "content-type": "application/json" });
    const shown = !well && isLocal(request) && { problems: Object.fromEntries(problems) };
    response.end(`${JSON.stringify({ status, ...shown })}\n`);
  }
}

/** Asked on this machine, by its own name: not by a page in a browser that points another name here (DNS rebinding). */
function isLocal({ socket, headers }: IncomingMessage): boolean {
  const peer = socket.remoteAddress?.replace(/^::ffff:/, "") ?? "";
  return isLoopback(peer) && isLoopbackHostHeader(headers.host);
}
