// Load generators: requests that are encoded already, over OTLP/HTTP and OTLP/gRPC. Bounded in count or in time.
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect, type ClientHttp2Session } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

export type Protocol = "http" | "grpc";

/** Sends one request; the answer is true for an acknowledgement and false for "later" (429, 503, UNAVAILABLE). */
export interface Client {
  send(body: Uint8Array): Promise<boolean>;
  close(): void;
}

/** @param url base URL, `http://127.0.0.1:4318` */
export function openClient(protocol: Protocol, url: string, gzip: boolean, connections: number): Client {
  return protocol === "http" ? new HttpClient(url, gzip, connections) : new GrpcClient(url, gzip, connections);
}

class HttpClient implements Client {
  readonly #agent: Agent;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, gzip: boolean, connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.#url = `${url}/v1/traces`;
    this.#headers = { "content-type": "application/x-protobuf", ...(gzip && { "content-encoding": "gzip" }) };
  }

  send(body: Uint8Array): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const headers = { ...this.#headers, "content-length": body.length };
      const outgoing = httpRequest(this.#url, { method: "POST", agent: this.#agent, headers }, (response) => {
        const { statusCode } = response.resume().once("error", reject);
        response.once("end", () => {
          if (statusCode === 200) resolve(true);
          else if (statusCode === 429 || statusCode === 503) resolve(false);
          else reject(new Error(`${this.#url} answered ${statusCode}`));
        });
      });
      outgoing.once("error", reject).end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

const EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const OK = "0";
const LATER = new Set(["8", "14"]);
const WINDOW = 16 << 20;

class GrpcClient implements Client {
  readonly #sessions: readonly ClientHttp2Session[];
  readonly #gzip: boolean;
  #turn = 0;

  constructor(url: string, gzip: boolean, connections: number) {
    this.#gzip = gzip;
    this.#sessions = Array.from({ length: connections }, () => {
      const session = connect(url, { settings: { initialWindowSize: WINDOW } });
      session.on("error", () => undefined);
      return session;
    });
  }

  async send(body: Uint8Array): Promise<boolean> {
    const session = this.#sessions[this.#turn++ % this.#sessions.length]!;
    const stream = session.request({
      ":method": "POST",
      ":path": EXPORT,
      "content-type": "application/grpc+proto",
      te: "trailers",
      ...(this.#gzip && { "grpc-encoding": "gzip" }),
    });
    let status: unknown;
    stream.on("response", (headers) => (status ??= headers["grpc-status"]));
    stream.on("trailers", (headers) => (status ??= headers["grpc-status"]));
    const prefix = Buffer.alloc(5);
    prefix[0] = this.#gzip ? 1 : 0;
    prefix.writeUInt32BE(body.length, 1);
    stream.write(prefix);
    stream.end(body);
    await once(stream.resume(), "end");
    if (status === OK) return true;
    if (LATER.has(String(status))) return false;
    throw new Error(`${EXPORT} answered grpc-status ${String(status)}`);
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }
}

/** As fast as the answers come, one request under way for each connection. @returns acknowledged requests */
export async function sendAll(
  client: Client,
  connections: number,
  next: () => Uint8Array | undefined,
): Promise<number> {
  let acknowledged = 0;
  const connection = async (): Promise<void> => {
    for (let body = next(); body !== undefined; body = next()) {
      while (!(await client.send(body))) await sleep(20);
      acknowledged++;
    }
  };
  await Promise.all(Array.from({ length: connections }, connection));
  return acknowledged;
}
