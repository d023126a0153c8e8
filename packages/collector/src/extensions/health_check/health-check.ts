import type { Component, SupervisorContext } from "../../component.ts";
import { offsetPort } from "../../config/address.ts";
import { HttpServer, refuseForeign } from "../../service/http-server.ts";
import type { HealthCheckConfig } from "./config.ts";

/** Answers 200 while every component works and 503 with the reasons while one does not. */
export class HealthCheck implements Component {
  readonly #server: HttpServer;

  constructor(config: HealthCheckConfig, { id, health, portOffset }: SupervisorContext) {
    this.#server = new HttpServer(
      `extensions::${id}::endpoint`,
      { address: offsetPort(config.endpoint, portOffset) },
      (request, response) => {
        if (refuseForeign(request, response)) return;
        const problems = health.problems();
        const status = problems.size === 0 ? "Server available" : "Server not available";
        response.writeHead(problems.size === 0 ? 200 : 503, { "content-type": "application/json" });
        response.end(
          `${JSON.stringify({ status, ...(problems.size > 0 && { problems: Object.fromEntries(problems) }) })}\n`,
        );
      },
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
}
