import { X509Certificate } from "node:crypto";
import { Client, Metadata, credentials, status, type ServiceError } from "@grpc/grpc-js";
import { encodeTraces } from "@otel-audit/otlp";
import { readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { connect as connectTcp, createServer } from "node:net";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { makeCertificate, writeCertificate, type Certificate } from "../../../../../test/support/certificate.ts";
import { tempDir } from "../../../../../test/support/index.ts";
import { AuthError, type Authenticator, type Peer, type Principal } from "../../auth.ts";
import type { Component } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { otlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

// Who may connect, and as whom: TLS, client certificates, tokens, sockets in the file system.

const TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const spans = [
  {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "0102030405060708",
    name: "s",
    startTimeUnixNano: 1n,
    endTimeUnixNano: 2n,
  },
];
const body = Buffer.from(encodeTraces({ resourceSpans: [{ scopeSpans: [{ spans }] }] }));

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

async function start(protocols: Record<string, unknown>): Promise<Running> {
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

interface ClientOptions extends RequestOptions {
  readonly headers?: Record<string, string | number>;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function post(url: string, options: ClientOptions = {}, content: Buffer | undefined = body): Promise<Answer> {
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

async function call(
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

/** Certificates as files, and how a client uses them. */
function certificates(): { dir: string; server: Certificate; client: Certificate; tls: Record<string, string> } {
  const dir = tempDir("tls");
  const server = makeCertificate();
  const client = makeCertificate();
  const tls = write(dir, server, client);
  return { dir, server, client, tls };
}

function write(dir: string, server: Certificate, client: Certificate): Record<string, string> {
  writeFileSync(join(dir, "clients.crt"), client.cert);
  return writeCertificate(dir, server, "server");
}

const both = (more: Record<string, unknown>): Record<string, unknown> => ({
  http: { endpoint: "127.0.0.1:0", ...more },
  grpc: { endpoint: "127.0.0.1:0", ...more },
});

describe("TLS", () => {
  it("serves both protocols, and nobody without TLS", async () => {
    const { server, tls } = certificates();
    const { receiver, principals } = await start(both({ tls }));
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    expect([otlpHttp, otlpGrpc]).toEqual([
      expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
    ]);
    expect((await post(otlpHttp!, { ca: server.cert })).status).toBe(200);
    expect(await call(otlpGrpc!, credentials.createSsl(Buffer.from(server.cert)))).toBeUndefined();
    await expect(post(otlpHttp!.replace("https", "http"))).rejects.toThrow(/./);
    expect((await call(otlpGrpc!))?.code).toBe(status.UNAVAILABLE);
    expect(principals).toEqual([undefined, undefined]);
  });

  it("refuses a version below the least", async () => {
    const { server, tls } = certificates();
    const { receiver } = await start({ http: { endpoint: "127.0.0.1:0", tls: { ...tls, min_version: "1.3" } } });
    const { otlpHttp } = receiver.endpoints;
    await expect(post(otlpHttp!, { ca: server.cert, maxVersion: "TLSv1.2" })).rejects.toThrow(/./);
    expect((await post(otlpHttp!, { ca: server.cert })).status).toBe(200);
  });

  it("asks for client certificates, and tells the authenticator whose they are", async () => {
    const { dir, server, client, tls } = certificates();
    const auth = { authenticator: "guard" };
    const { receiver, principals } = await start(
      both({ auth, tls: { ...tls, client_ca_file: join(dir, "clients.crt") } }),
    );
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    const ca = Buffer.from(server.cert);
    const [key, cert] = [Buffer.from(client.key), Buffer.from(client.cert)];
    const stranger = makeCertificate();
    expect((await post(otlpHttp!, { ca, key, cert })).status).toBe(200);
    expect(await call(otlpGrpc!, credentials.createSsl(ca, key, cert))).toBeUndefined();
    const { fingerprint256 } = new X509Certificate(cert);
    expect(principals).toEqual([fingerprint256, fingerprint256]);
    await expect(post(otlpHttp!, { ca })).rejects.toThrow(/./);
    await expect(post(otlpHttp!, { ca, ...stranger })).rejects.toThrow(/./);
    expect((await call(otlpGrpc!, credentials.createSsl(ca)))?.code).toBe(status.UNAVAILABLE);
    expect(principals).toHaveLength(2);
  });

  it("reads changed files again, keeps connections, and keeps the old ones while the new ones are broken", async () => {
    const { dir, server, client, tls } = certificates();
    const { receiver, logged, problems } = await start(both({ tls: { ...tls, reload_interval: "100ms" } }));
    for (const url of [receiver.endpoints.otlpHttp!, receiver.endpoints.otlpGrpc!]) {
      const open = await handshake(url);
      expect(open.getPeerX509Certificate()?.toString()).toBe(server.cert);
      open.end();
    }
    const kept = await handshake(receiver.endpoints.otlpHttp!);
    // A connection that has not asked anything is cut after a while.
    expect(await ask(kept)).toMatch(/^HTTP\/1\.1 200 /);
    writeFileSync(tls["cert_file"]!, "broken");
    await expect.poll(() => logged.filter((line) => line.includes("cannot be used")).length).toBe(2);
    expect(problems.get("receivers::otlp::protocols::http::tls")).toContain("the ones before stay in use");
    expect((await post(receiver.endpoints.otlpHttp!, { ca: server.cert })).status).toBe(200);
    const renewed = makeCertificate();
    write(dir, renewed, client);
    for (const url of [receiver.endpoints.otlpHttp!, receiver.endpoints.otlpGrpc!]) {
      await expect
        .poll(async () => {
          const open = await handshake(url);
          open.end();
          return open.getPeerX509Certificate()?.toString();
        })
        .toBe(renewed.cert);
    }
    expect([...problems]).toEqual([]);
    expect(await call(receiver.endpoints.otlpGrpc!, credentials.createSsl(Buffer.from(renewed.cert)))).toBeUndefined();
    expect(await ask(kept)).toMatch(/^HTTP\/1\.1 200 /);
    kept.destroy();
  });

  it("names the file that cannot be used", async () => {
    const { dir, tls } = certificates();
    const other = makeCertificate();
    writeFileSync(join(dir, "other.key"), other.key);
    await expect(start(both({ tls: { ...tls, cert_file: join(dir, "none.crt") } }))).rejects.toThrow(
      /^receivers::otlp::protocols::http::tls::cert_file: ENOENT/,
    );
    await expect(start(both({ tls: { ...tls, key_file: join(dir, "other.key") } }))).rejects.toThrow(
      /^receivers::otlp::protocols::http::tls: .*other\.key.*mismatch/,
    );
  });
});

function handshake(url: string): Promise<TLSSocket> {
  const { port } = new URL(url);
  const ALPNProtocols = ["h2", "http/1.1"];
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port: Number(port), host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols });
    socket.once("secureConnect", () => resolve(socket)).on("error", reject);
  });
}

/** What comes back first for an empty request. */
function ask(socket: TLSSocket): Promise<string> {
  const answer = new Promise<string>((resolve) => socket.once("data", (chunk: Buffer) => resolve(chunk.toString())));
  socket.write(
    "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
  );
  return answer;
}

const bearer = (token: string): ClientOptions => ({ headers: { authorization: `Bearer ${token}` } });

describe("tokens", () => {
  const auth = { authenticator: "guard" };

  it("are looked at before a body is read, and go along with the batch", async () => {
    const { receiver, principals, guard } = await start(both({ auth }));
    const { otlpHttp, otlpGrpc } = receiver.endpoints;
    expect((await post(otlpHttp!, bearer("good"))).status).toBe(200);
    expect(await call(otlpGrpc!, undefined, "Bearer good")).toBeUndefined();
    expect(principals).toEqual(["token", "token"]);
    // No body ever comes: the answer does not wait for it.
    const nobody = await post(otlpHttp!, { headers: { "content-length": 1_000_000 } }, undefined);
    expect(nobody).toMatchObject({ status: 401, headers: { "www-authenticate": "Bearer" } });
    expect(nobody.text).toContain("who are you?");
    expect(await post(otlpHttp!, bearer("bad"))).toMatchObject({ status: 403 });
    expect(await post(otlpHttp!, bearer("slow"))).toMatchObject({ status: 429, headers: { "retry-after": "2" } });
    expect((await call(otlpGrpc!))?.code).toBe(status.UNAUTHENTICATED);
    expect((await call(otlpGrpc!, undefined, "Bearer bad"))?.code).toBe(status.PERMISSION_DENIED);
    const slow = await call(otlpGrpc!, undefined, "Bearer slow");
    expect([slow?.code, slow?.metadata.get("grpc-status-details-bin").length]).toEqual([status.RESOURCE_EXHAUSTED, 1]);
    expect(guard.peers.every(({ certificate }) => certificate === undefined)).toBe(true);
    expect(principals).toHaveLength(2);
  });

  it("are not taken twice from one request", async () => {
    const { receiver, guard } = await start(both({ auth }));
    const answer = await new Promise<string>((resolve) => {
      const socket = connectTcp(Number(new URL(receiver.endpoints.otlpHttp!).port), "127.0.0.1");
      socket.once("data", (chunk: Buffer) => resolve(chunk.toString()));
      const twice = "Authorization: Bearer good\r\n".repeat(2);
      socket.write(`POST /v1/traces HTTP/1.1\r\nHost: x\r\n${twice}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(guard.peers[0]?.authorization).toBe("Bearer good, Bearer good");
  });

  it("let others in from other machines, under any Host; without them nobody is let in", async () => {
    const { receiver } = await start({ http: { endpoint: "0.0.0.0:0", auth } });
    const url = receiver.endpoints.otlpHttp!.replace("0.0.0.0", "127.0.0.1");
    const headers = { authorization: "Bearer good", host: "collector.example:4318" };
    expect((await post(url, { headers })).status).toBe(200);
    for (const endpoint of ["0.0.0.0:4317", "[::]:4317", "192.0.2.1:4317", "collector.example:4317"]) {
      const { error } = otlpConfig.safeParse({ protocols: { grpc: { endpoint } } });
      expect(error?.issues[0]).toMatchObject({
        path: ["protocols", "grpc", "endpoint"],
        message: expect.stringMatching(
          /can be reached from other machines.*auth::authenticator.*client_ca_file/,
        ) as string,
      });
    }
    // Encrypted, and still anybody's.
    const { tls } = certificates();
    expect(otlpConfig.safeParse({ protocols: { http: { endpoint: "0.0.0.0:4318", tls } } }).success).toBe(false);
  });

  it("need an authenticator that is there", async () => {
    await expect(start(both({ auth: { authenticator: "nobody" } }))).rejects.toThrow(
      'receivers::otlp::protocols::http::auth::authenticator: references extension "nobody" which is not in service::extensions',
    );
  });
});

const unix = (dir: string): Record<string, unknown> => ({
  http: { transport: "unix", endpoint: join(dir, "http.sock") },
  grpc: { transport: "unix", endpoint: join(dir, "grpc.sock") },
});
const refused = (endpoint: string): string | undefined =>
  otlpConfig.safeParse({ protocols: { http: { transport: "unix", endpoint } } }).error?.issues[0]?.message;

describe("a socket in the file system", () => {
  it("serves both protocols, to this user only, and goes away", async () => {
    const dir = tempDir("unix");
    const { receiver, principals } = await start(unix(dir));
    expect(receiver.endpoints).toEqual({
      otlpHttp: `unix:${join(dir, "http.sock")}`,
      otlpGrpc: `unix:${join(dir, "grpc.sock")}`,
    });
    expect((await post(receiver.endpoints.otlpHttp!, { headers: { host: "any" } })).status).toBe(200);
    expect(await call(receiver.endpoints.otlpGrpc!)).toBeUndefined();
    expect(principals).toHaveLength(2);
    expect(statSync(join(dir, "http.sock")).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).toSorted()).toEqual(["grpc.sock", "http.sock"]);
    await receiver.shutdown();
    expect(readdirSync(dir)).toEqual([]);
  });

  it("takes the place of one that nobody listens on, and of nothing else", async () => {
    const dir = tempDir("unix");
    const path = join(dir, "http.sock");
    const stale = createServer();
    await new Promise<void>((resolve) => stale.listen(join(dir, "moved"), resolve));
    renameSync(join(dir, "moved"), path);
    await expect(start({ http: { transport: "unix", endpoint: path } })).rejects.toThrow(
      `endpoint: unix:${path} is in use by another process`,
    );
    await new Promise((resolve) => stale.close(resolve));
    const { receiver } = await start({ http: { transport: "unix", endpoint: path } });
    expect((await post(receiver.endpoints.otlpHttp!)).status).toBe(200);
    await receiver.shutdown();
    writeFileSync(path, "precious");
    await expect(start({ http: { transport: "unix", endpoint: path } })).rejects.toThrow(
      `"${path}" is there and is not a socket`,
    );
    expect(statSync(path).size).toBe(8);
  });

  it("needs an absolute path with room for it, in a directory that is there", async () => {
    expect(refused("http.sock")).toContain("is not an absolute path");
    expect(refused(`/${"x".repeat(90)}`)).toContain("has 91 bytes");
    const dir = join(tempDir("unix"), "none");
    await expect(start(unix(dir))).rejects.toThrow(/endpoint: cannot listen on unix:.*ENOENT/);
  });
});
