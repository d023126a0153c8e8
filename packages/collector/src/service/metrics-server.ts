import type { SupervisorContext } from "../component.ts";
import { isLoopback, offsetPort } from "../config/address.ts";
import type { ServiceConfig } from "../config/schema.ts";
import { Certificates } from "./certificates.ts";
import { HttpServer, refuseForeign } from "./http-server.ts";

const WHAT = "service::telemetry::metrics";

/** `/metrics` where the configuration says; undefined where it says nothing. */
export function metricsServer(
  { address, tls }: ServiceConfig["telemetry"]["metrics"],
  { log, health, portOffset, expose }: Surroundings,
): HttpServer | undefined {
  if (!address) return undefined;
  // However many ask, all of them wait for one page.
  let page: Promise<Page> | undefined;
  return new HttpServer(
    `${WHAT}::address`,
    { address: offsetPort(address, portOffset, `${WHAT}::address`) },
    (request, response) => {
      if (isLoopback(address.host) && refuseForeign(request, response)) return;
      request.resume();
      if (request.url?.split("?", 1)[0] !== "/metrics") {
        response.writeHead(404).end("not found; metrics are on /metrics\n");
        return;
      }
      page ??= expose().finally(() => (page = undefined));
      page.then(
        ({ text, contentType }) => response.writeHead(200, { "content-type": contentType }).end(text),
        (error: unknown) => {
          log.error({ err: error }, "the metrics could not be collected");
          response.writeHead(500).end("the metrics could not be collected\n");
        },
      );
    },
    tls && new Certificates(`${WHAT}::tls`, tls, { log, health }),
  );
}

interface Surroundings extends Pick<SupervisorContext, "log" | "health" | "portOffset"> {
  readonly expose: () => Promise<Page>;
}

interface Page {
  readonly text: string;
  readonly contentType: string;
}
