import { Client, Metadata, credentials, type ServiceError } from "@grpc/grpc-js";
import { request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { pino } from "pino";
import { afterEach } from "vitest";
import { AuthError, type Authenticator, type Peer, type Principal } from "../auth.ts";
import type { Component } from "../component.ts";
import { otlpConfig } from "../receivers/otlp/config.ts";
import { OtlpReceiver } from "../receivers/otlp/receiver.ts";
import type { TraceBatch } from "../trace-batch.ts";
import { testContext } from "./context.ts";
import { SPAN, requestOf } from "./spans.ts";

// A receiver, whom it may ask for credentials, and clients of both protocols.

const TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const body = Buffer.from(requestOf([SPAN]));

const BOUNDLESS = { speaksFor: () => true, isNewMisuse: () => false, admit: () => {}, refund: () => {}, hold: () => 0 };

/** Knows the token "good", and a certificate. */
class Guard implements Component, Authenticator {
  readonly peers: Peer[] = [];
  async start(): Promise<void> {}
  async shutdown(): Promise<void> {}
  authenticate(peer: Peer): Principal {
    this.peers.push(peer);
    const { authorization, certificate } = peer;
    if (authorization === "Bearer slow") throw new AuthError("rate_limited", "slower", { retryAfterMs: 1_500 });
    if (authorization === "Bearer bad") throw new AuthError("forbidden", "not you");
    if (authorization !== "Bearer good" && !certificate) throw new AuthError("unauthenticated", "who are you?");
    const id = certificate?.fingerprint256 ?? "token";
    return { id, tenant: "", roles: new Set(), agents: [], ...BOUNDLESS };
  }
}

const started: OtlpReceiver[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((receiver) => receiver.shutdown()));
});

interface Running {
  readonly receiver: OtlpReceiver;
  readonly principals: (string | undefined)[];
  readonly guard: Guard;
  readonly logged: string[];
  readonly problems: ReadonlyMap<string, string>;
}

export async function startGuarded(protocols: Record<string, unknown>): Promise<Running> {
  const principals: (string | undefined)[] = [];
  const guard = new Guard();
  const logged: string[] = [];
  const consume = async ({ principal }: TraceBatch): Promise<never[]> => {
    principals.push(principal?.id);
    return [];
  };
  const context = testContext("otlp", {
    extension: (id) => (id === "guard" ? guard : undefined),
    log: pino({ level: "info" }, { write: (line: string) => void logged.push(line) }),
  });
  const receiver = new OtlpReceiver(otlpConfig.parse({ protocols }), { traces: { consume } }, context);
  started.push(receiver);
  await receiver.start();
  return { receiver, principals, guard, logged, problems: context.health.problems() };
}

export interface ClientOptions extends RequestOptions {
  readonly headers?: Record<string, string | number>;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

export function post(url: string, options: ClientOptions = {}, content: Buffer | undefined = body): Promise<Answer> {
  const { headers, ...rest } = options;
  return new Promise((resolve, reject) => {
    const type = { "content-type": "application/x-protobuf", ...headers };
    const all = { method: "POST", path: "/v1/traces", agent: false as const, ...rest, headers: type };
    const outgoing = url.startsWith("unix:")
      ? httpRequest({ socketPath: url.slice(5), ...all })
      : (url.startsWith("https:") ? httpsRequest : httpRequest)(`${url}/v1/traces`, all);
    outgoing.on("error", reject).on("response", (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    if (content) outgoing.end(content);
    else outgoing.flushHeaders();
  });
}

const same = (bytes: Buffer): Buffer => bytes;

export async function call(
  url: string,
  tls = credentials.createInsecure(),
  token?: string,
): Promise<ServiceError | undefined> {
  const client = new Client(url.replace(/^https?:\/\//, ""), tls, { "grpc.enable_retries": 0 });
  const metadata = new Metadata();
  if (token) metadata.set("authorization", token);
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(TRACES, same, same, body, metadata, (error) => resolve(error ?? undefined));
    });
  } finally {
    client.close();
  }
}

/** The same settings for both protocols. */
export const both = (more: Record<string, unknown>): Record<string, unknown> => ({
  http: { endpoint: "127.0.0.1:0", ...more },
  grpc: { endpoint: "127.0.0.1:0", ...more },
});
