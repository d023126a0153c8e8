import { Agent, request as httpRequest } from "node:http";
import { Agent as SecureAgent, request as httpsRequest } from "node:https";
import { connect, type ClientHttp2Session } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { TRACES } from "./grpc-lane.ts";

/** Milliseconds until a client of OTLP gives up a request (the default of SDKs). */
const PATIENCE_MS = 30_000;
/** How often it asks again when it is told to come later. */
const TRIES = 5;

interface GoodOptions {
  readonly httpUrl: string;
  readonly grpcUrl: string;
  /** Of a collector with TLS. */
  readonly ca?: string | undefined;
  readonly token?: string | undefined;
  /** A new request each time, as protobuf. */
  readonly body: () => Buffer;
}

/** What a good client saw while somebody else did not behave. */
export interface Seen {
  acknowledged: number;
  /** Answers that told it to come again, after which it did. */
  retried: number;
  slowestMs: number;
  readonly failures: string[];
}

/** Sends one request after the other, over HTTP and over gRPC, on connections that it keeps, as an SDK does. */
export class GoodClient {
  readonly #options: GoodOptions;
  readonly #agent: Agent | SecureAgent;
  #session: ClientHttp2Session | undefined;

  constructor(options: GoodOptions) {
    this.#options = options;
    const { ca } = options;
    this.#agent = ca === undefined ? new Agent({ keepAlive: true }) : new SecureAgent({ keepAlive: true, ca });
  }

  /** Sends until `work` is done, and at least once over each protocol. */
  async during(work: Promise<unknown>): Promise<Seen> {
    const seen: Seen = { acknowledged: 0, retried: 0, slowestMs: 0, failures: [] };
    const state = { over: false };
    const done = work.finally(() => (state.over = true));
    const ways = [() => this.#http(), () => this.#grpc()];
    await Promise.all(
      ways.map(async (send) => {
        do await this.#acknowledged(send, seen);
        while (!state.over);
      }),
    );
    await done;
    return seen;
  }

  close(): void {
    this.#agent.destroy();
    this.#session?.destroy();
  }

  async #acknowledged(send: () => Promise<"taken" | "later">, seen: Seen): Promise<void> {
    const started = performance.now();
    for (let tries = 0; tries < TRIES; tries++) {
      const answer = await send().catch((error: unknown) => String(error));
      if (answer === "taken") {
        seen.acknowledged++;
        seen.slowestMs = Math.max(seen.slowestMs, performance.now() - started);
        await sleep(10);
        return;
      }
      if (answer !== "later") {
        seen.failures.push(answer);
        return;
      }
      seen.retried++;
      await sleep(1_000);
    }
    seen.failures.push(`told to come again ${TRIES} times`);
  }

  #http(): Promise<"taken" | "later"> {
    const { httpUrl, token, body } = this.#options;
    const content = body();
    const headers = {
      "content-type": "application/x-protobuf",
      "content-length": content.length,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
    const send = httpUrl.startsWith("https:") ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const outgoing = send(`${httpUrl}/v1/traces`, { method: "POST", headers, agent: this.#agent }, (response) => {
        response.resume();
        if (response.statusCode === 200) resolve("taken");
        else if (response.statusCode === 503) resolve("later");
        else reject(new Error(`HTTP ${response.statusCode}`));
      });
      outgoing.setTimeout(PATIENCE_MS, () => outgoing.destroy(new Error(`no answer over HTTP in ${PATIENCE_MS} ms`)));
      outgoing.on("error", reject);
      outgoing.end(content);
    });
  }

  #grpc(): Promise<"taken" | "later"> {
    const { token, body } = this.#options;
    const content = body();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(content.length, 1);
    return new Promise((resolve, reject) => {
      const stream = this.#connected().request({
        ":method": "POST",
        ":path": TRACES,
        "content-type": "application/grpc",
        te: "trailers",
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      });
      let status: string | undefined;
      stream.on("response", (headers) => (status = headers["grpc-status"]?.toString()));
      stream.on("trailers", (trailers) => (status = trailers["grpc-status"]?.toString()));
      stream.setTimeout(PATIENCE_MS, () => {
        reject(new Error(`no answer over gRPC in ${PATIENCE_MS} ms`));
        stream.destroy();
      });
      stream.on("error", reject);
      stream.on("close", () => {
        if (status === "0") resolve("taken");
        else if (status === "14") resolve("later");
        else reject(new Error(`grpc-status ${status}`));
      });
      stream.resume().end(Buffer.concat([head, content]));
    });
  }

  #connected(): ClientHttp2Session {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const { grpcUrl, ca } = this.#options;
    this.#session = connect(grpcUrl, ca === undefined ? {} : { ca });
    this.#session.on("error", () => {});
    return this.#session;
  }
}
