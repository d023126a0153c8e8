import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { closeServer, listen } from "../support/listen.ts";
import type { Random } from "./random.ts";

/**
 * How the database is broken:
 *
 * - `refuse`: nobody listens.
 * - `stall`: a request is taken and held until the mode ends; it is delivered then, whoever still waits for the answer.
 * - `late`: the client's connection breaks, and the request is delivered some time afterwards.
 * - `cut-request`, `cut-answer`: the connections break while the body, or the answer, is on its way.
 * - `lose-answer`: the request is delivered, its answer is not.
 * - `error-500`: an answer with ClickHouse's MEMORY_LIMIT_EXCEEDED, and with what is no answer of ClickHouse's at all.
 * - `slow`: bodies and answers come in drops.
 */
export const DATABASE_FAULTS = [
  "refuse",
  "stall",
  "late",
  "cut-request",
  "cut-answer",
  "lose-answer",
  "error-500",
  "slow",
] as const;
type DatabaseFault = (typeof DATABASE_FAULTS)[number];

/** Where requests go. */
export interface Target {
  readonly port: number;
  /** The engine gives its writer another password at every start. */
  readonly authorization: string;
}

/** An HTTP proxy before ClickHouse that does what networks, load balancers and dying servers do. */
export class DatabaseProxy {
  target: Target | undefined;
  readonly #random: Random;
  #mode: DatabaseFault | undefined;
  #onlyInserts = false;
  #ended: () => void = () => undefined;
  #end: Promise<void> = Promise.resolve();
  #port = 0;
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });

  constructor(random: Random) {
    this.#random = random;
  }

  static async start(random: Random): Promise<DatabaseProxy> {
    const proxy = new DatabaseProxy(random);
    proxy.#port = await listen(proxy.#server);
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Breaks requests from now on; undefined ends it. */
  async set(mode: DatabaseFault | undefined): Promise<void> {
    if (this.#mode === "refuse") await listen(this.#server, this.#port);
    this.#ended();
    this.#mode = mode;
    // What follows a broken insert (counting, looking for it, trying again) is broken too, or is not.
    this.#onlyInserts = this.#random.chance(0.5);
    this.#end = new Promise((resolve) => (this.#ended = resolve));
    if (mode === "refuse") await closeServer(this.#server);
    else if (mode !== undefined) this.#server.closeIdleConnections();
  }

  async stop(): Promise<void> {
    this.#ended();
    await closeServer(this.#server);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const spared = this.#onlyInserts ? !isInsert(request) : this.#random.chance(0.25);
    const mode = spared ? undefined : this.#mode;
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    if (mode === "error-500") return this.#fail(request, response);
    const body = await readAll(request);
    if (mode === "stall") await this.#end;
    if (mode === "late") {
      request.socket.destroy();
      await sleep(this.#random.between(0, 3_000));
    }
    if (mode === "cut-request") {
      const length = Math.floor(body.length * this.#random.next());
      await this.#deliver(request, body, { sendOnly: length }).catch(() => undefined);
      request.socket.destroy();
      return;
    }
    const answer = await this.#deliver(request, body, { slow: mode === "slow" });
    if (mode === "lose-answer") response.destroy();
    else if (mode === "cut-answer") {
      response.writeHead(answer.status, answer.headers);
      response.write(answer.body.subarray(0, Math.floor(answer.body.length / 2)), () => response.destroy());
    } else if (mode === "slow") {
      response.writeHead(answer.status, answer.headers);
      for (let at = 0; at < answer.body.length; at += 64) {
        response.write(answer.body.subarray(at, at + 64));
        if (at < 64 * 20) await sleep(20);
      }
      response.end();
    } else response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  async #fail(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await readAll(request);
    if (this.#random.chance(0.5)) {
      const headers = { "x-clickhouse-exception-code": "241", "content-type": "text/plain" };
      response.writeHead(500, headers).end("Code: 241. DB::Exception: memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)");
    } else response.writeHead(502, { "content-type": "text/html" }).end("<html>Bad Gateway</html>");
  }

  async #deliver(
    from: IncomingMessage,
    body: Buffer,
    { sendOnly, slow = false }: { sendOnly?: number; slow?: boolean },
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
    const { target } = this;
    if (target === undefined) throw new Error("the database is down");
    const { connection: _connection, "transfer-encoding": _encoding, ...headers } = from.headers;
    const request = httpRequest({
      host: "127.0.0.1",
      port: target.port,
      method: from.method,
      path: from.url,
      agent: false,
      headers: {
        ...headers,
        "content-length": body.length,
        ...(headers.authorization !== undefined && { authorization: target.authorization }),
      },
    });
    if (sendOnly !== undefined) {
      request.write(body.subarray(0, sendOnly), () => request.destroy());
      await once(request, "close");
      throw new Error("cut");
    }
    const answered = once(request, "response") as Promise<[IncomingMessage]>;
    // Rejected while the body is still being written: told below.
    answered.catch(() => undefined);
    if (slow) await writeSlowly(request, body);
    request.end(slow ? undefined : body);
    const [response] = await answered;
    const kept = ["content-type", "x-clickhouse-exception-code", "x-clickhouse-summary", "x-clickhouse-query-id"];
    return {
      status: response.statusCode ?? 0,
      headers: Object.fromEntries(kept.flatMap((name) => pair(name, response.headers[name]))),
      body: await readAll(response),
    };
  }
}

function isInsert(request: IncomingMessage): boolean {
  return request.url?.includes("query=INSERT") === true;
}

function pair(name: string, value: string | string[] | undefined): [string, string][] {
  return typeof value === "string" ? [[name, value]] : [];
}

async function writeSlowly(request: { write(chunk: Buffer): boolean }, body: Buffer): Promise<void> {
  const drops = 20;
  const size = Math.ceil(body.length / drops);
  for (let at = 0; at < body.length; at += size) {
    request.write(body.subarray(at, at + size));
    await sleep(30);
  }
}

async function readAll(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
