import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { protobufToJson } from "@otel-audit/otlp";

/** What a client learned about a request. */
export type Outcome =
  | { readonly kind: "acknowledged" }
  /** An answer that says: not stored, come again. */
  | { readonly kind: "refused" }
  /** Nobody listens. */
  | { readonly kind: "unreachable" }
  /** No answer: it may be stored or not. */
  | { readonly kind: "unknown" }
  /** An answer that nothing here explains. */
  | { readonly kind: "surprise"; readonly what: string };

/** Where the client breaks the connection. */
export type Cut = "in-request" | "before-answer";

/** One way to the collector, over connections of its own. */
export interface Transport {
  readonly name: string;
  /** Never rejects. @param fresh over a new connection */
  send(body: Uint8Array, options: { readonly cut?: Cut | undefined; readonly fresh?: boolean }): Promise<Outcome>;
  close(): void;
}

interface Ways {
  readonly httpPort: number;
  readonly grpcPort: number | undefined;
}

const TIMEOUT_MS = 10_000;
const REFUSED = "ECONNREFUSED";
const UNKNOWN: Outcome = { kind: "unknown" };

/** One transport of each kind that the collector speaks. */
export function transports({ httpPort, grpcPort }: Ways): Transport[] {
  const all: Transport[] = [
    new HttpTransport("http/protobuf", httpPort, "application/x-protobuf", false),
    new HttpTransport("http/protobuf+gzip", httpPort, "application/x-protobuf", true),
    new HttpTransport("http/json", httpPort, "application/json", false),
  ];
  if (grpcPort !== undefined) all.push(new GrpcTransport(grpcPort));
  return all;
}

class HttpTransport implements Transport {
  readonly name: string;
  readonly #port: number;
  readonly #type: string;
  readonly #gzip: boolean;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });

  constructor(name: string, port: number, type: string, gzip: boolean) {
    this.name = name;
    this.#port = port;
    this.#type = type;
    this.#gzip = gzip;
  }

  send(body: Uint8Array, { cut, fresh = false }: { cut?: Cut | undefined; fresh?: boolean }): Promise<Outcome> {
    const text = this.#type === "application/json" ? Buffer.from(protobufToJson(body)) : body;
    const bytes = this.#gzip ? gzipSync(text, { level: 1 }) : text;
    return new Promise((resolve) => {
      const request = httpRequest({
        port: this.#port,
        host: "127.0.0.1",
        path: "/v1/traces",
        method: "POST",
        agent: fresh || cut !== undefined ? false : this.#agent,
        timeout: TIMEOUT_MS,
        headers: {
          "content-type": this.#type,
          "content-length": bytes.length,
          ...(this.#gzip && { "content-encoding": "gzip" }),
        },
      });
      request.on("error", ({ message }) => {
        resolve(message.includes(REFUSED) ? { kind: "unreachable" } : UNKNOWN);
      });
      request.on("timeout", () => request.destroy());
      let answered = false;
      // Comes after an answer as well, which may not be read yet.
      request.on("close", () => {
        if (!answered) resolve(UNKNOWN);
      });
      request.on("response", (response) => {
        answered = cut === undefined;
        if (cut !== undefined) request.destroy();
        else this.#read(response).then(resolve, () => resolve(UNKNOWN));
      });
      if (cut === "in-request") {
        request.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => request.destroy());
      } else {
        request.end(bytes, () => {
          // Some at once, some when the collector is at work on it.
          if (cut === "before-answer") setTimeout(() => request.destroy(), bytes.length % 4);
        });
      }
    });
  }

  async #read(response: IncomingMessage): Promise<Outcome> {
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const status = response.statusCode ?? 0;
    if (status === 429 || status === 502 || status === 503 || status === 504) return { kind: "refused" };
    if (status !== 200) return { kind: "surprise", what: `${this.name}: ${status} ${body.slice(0, 200)}` };
    // A partial success that rejects nothing is an empty message.
    if (body === "" || body === "{}" || body === '{"partialSuccess":{}}') return { kind: "acknowledged" };
    return { kind: "surprise", what: `${this.name}: 200 ${JSON.stringify(body.slice(0, 200))}` };
  }

  close(): void {
    this.#agent.destroy();
  }
}

const EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/** CANCELLED, DEADLINE_EXCEEDED and UNAVAILABLE without an answer of the server's say nothing about the request. */
const SAYS_NOTHING = new Set([1, 4, 14]);
const RESOURCE_EXHAUSTED = 8;

/** As much of @grpc/grpc-js, a dependency of the collector's, as is needed here. */
interface GrpcClient {
  makeUnaryRequest(
    method: string,
    write: (bytes: Buffer) => Buffer,
    read: (bytes: Buffer) => Buffer,
    body: Buffer,
    options: { deadline: number },
    done: (error: { code: number; details: string } | null, answer?: Buffer) => void,
  ): { cancel(): void };
  close(): void;
}
interface Grpc {
  readonly Client: new (address: string, credentials: unknown, options: object) => GrpcClient;
  readonly credentials: { createInsecure(): unknown };
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

class GrpcTransport implements Transport {
  readonly name = "grpc";
  readonly #connect: () => GrpcClient;
  #client: GrpcClient;

  constructor(port: number) {
    const require = createRequire(new URL("../../packages/collector/package.json", import.meta.url));
    const grpc = require("@grpc/grpc-js") as Grpc;
    this.#connect = () =>
      new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.initial_reconnect_backoff_ms": 50,
        "grpc.max_reconnect_backoff_ms": 500,
      });
    this.#client = this.#connect();
  }

  send(body: Uint8Array, { cut, fresh = false }: { cut?: Cut | undefined; fresh?: boolean }): Promise<Outcome> {
    const client = fresh ? this.#connect() : this.#client;
    return new Promise((resolve) => {
      const deadline = Date.now() + TIMEOUT_MS;
      const call = client.makeUnaryRequest(EXPORT, same, same, Buffer.from(body), { deadline }, (error, answer) => {
        if (fresh) client.close();
        resolve(cut === undefined ? this.#outcome(error, answer) : UNKNOWN);
      });
      if (cut === "in-request") setImmediate(() => call.cancel());
      else if (cut === "before-answer") setTimeout(() => call.cancel(), body.length % 8);
    });
  }

  #outcome(error: { code: number; details: string } | null, answer: Buffer | undefined): Outcome {
    if (error === null) {
      return answer?.length === 0
        ? { kind: "acknowledged" }
        : { kind: "surprise", what: `grpc: OK ${answer?.toString("latin1").slice(0, 200)}` };
    }
    if (error.code === RESOURCE_EXHAUSTED) return { kind: "refused" };
    if (error.details.includes(REFUSED)) return { kind: "unreachable" };
    if (SAYS_NOTHING.has(error.code) || /RST_STREAM|connection/i.test(error.details)) return UNKNOWN;
    return { kind: "surprise", what: `grpc: ${error.code} ${error.details.slice(0, 200)}` };
  }

  close(): void {
    this.#client.close();
  }
}
