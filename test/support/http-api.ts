import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { makeCertificate } from "./certificate.ts";
import { closeServer, listen } from "./listen.ts";

/** A request that reached the API. */
export interface ApiRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

export interface ApiAnswer {
  /** 200 by default. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Milliseconds to wait before the answer. */
  readonly delayMs?: number;
  /** Cut the connection instead of answering: the client gets ECONNRESET. */
  readonly destroy?: boolean;
}

export type ApiHandler = (request: ApiRequest) => ApiAnswer | Promise<ApiAnswer>;

export interface HttpApiOptions {
  /** `"METHOD /path"` to its answer. A path that ends in `/*` stands for all below it. */
  readonly routes?: Readonly<Record<string, ApiAnswer | ApiHandler>>;
  /** Serve HTTPS with a certificate of its own, made for localhost and 127.0.0.1. */
  readonly tls?: boolean;
}

export interface HttpApi {
  readonly port: number;
  /** `http://127.0.0.1:<port>`, or `https://…`. */
  readonly url: string;
  /** With `tls`: the certificate (PEM) that clients have to trust. */
  readonly ca: string | undefined;
  /** Every request whose body arrived, in that order, also those that were made to fail. */
  readonly requests: readonly ApiRequest[];
  /** Adds or replaces a route. */
  on(route: string, answer: ApiAnswer | ApiHandler): void;
  /** The next `times` (1) requests get this answer, whatever their route. */
  failNext(answer: ApiAnswer, times?: number): void;
  clear(): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a small JSON API on a free port of 127.0.0.1. Without a route it answers 200 with what it was asked:
 * `{ method, path, query, body }`.
 */
export async function startHttpApi(options: HttpApiOptions = {}): Promise<HttpApi> {
  const routes = new Map(Object.entries(options.routes ?? {}));
  const requests: ApiRequest[] = [];
  const failures: ApiAnswer[] = [];
  const certificate = options.tls ? makeCertificate() : undefined;
  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    void serve(incoming, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  };
  const server = certificate ? createTlsServer(certificate, listener) : createServer(listener);

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming);
    requests.push(request);
    const answer = failures.shift() ?? find(routes, request) ?? echo;
    await send(response, typeof answer === "function" ? await answer(request) : answer);
  }

  const port = await listen(server);
  const close = (): Promise<void> => closeServer(server);
  return {
    port,
    url: `${certificate ? "https" : "http"}://127.0.0.1:${port}`,
    ca: certificate?.cert,
    requests,
    on: (route, answer) => void routes.set(route, answer),
    failNext: (answer, times = 1) => {
      for (let i = 0; i < times; i++) failures.push(answer);
    },
    clear: () => {
      requests.length = 0;
      failures.length = 0;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function readRequest(incoming: IncomingMessage): Promise<ApiRequest> {
  const { pathname, searchParams } = new URL(incoming.url ?? "/", "http://127.0.0.1");
  return {
    method: incoming.method ?? "",
    path: pathname,
    query: Object.fromEntries(searchParams),
    headers: incoming.headers,
    body: await text(incoming),
  };
}

function find(
  routes: ReadonlyMap<string, ApiAnswer | ApiHandler>,
  { method, path }: ApiRequest,
): ApiAnswer | ApiHandler | undefined {
  const exact = routes.get(`${method} ${path}`);
  if (exact) return exact;
  for (let end = path.lastIndexOf("/"); end >= 0; end = end === 0 ? -1 : path.lastIndexOf("/", end - 1)) {
    const route = routes.get(`${method} ${path.slice(0, end)}/*`);
    if (route) return route;
  }
  return undefined;
}

function echo({ method, path, query, body }: ApiRequest): ApiAnswer {
  return { body: { method, path, query, body } };
}

async function send(response: ServerResponse, answer: ApiAnswer): Promise<void> {
  if (answer.delayMs !== undefined) await sleep(answer.delayMs);
  if (answer.destroy) {
    response.destroy();
    return;
  }
  response.writeHead(answer.status ?? 200, { "content-type": "application/json", ...answer.headers });
  response.end(answer.body === undefined ? undefined : JSON.stringify(answer.body));
}
