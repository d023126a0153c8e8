import { OTLPTraceExporter as JsonExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { OTLPTraceExporter as ProtoExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { connect } from "node:net";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { proto } from "../../../../../test/proto/load.ts";
import type { SignalBatch } from "../../component.ts";
import { testContext } from "../../testing/context.ts";
import type { TraceBatch } from "../../trace-batch.ts";
import { otlpConfig } from "./config.ts";
import { OtlpReceiver } from "./receiver.ts";

// What is at the edge of HTTP: what Node's parser refuses, several requests in one packet, other signals, slow clients.

const PROTOBUF = { "content-type": "application/x-protobuf" };
const JSON_TYPE = { "content-type": "application/json" };
const LIMIT = 64 * 1024;
const context = testContext("otlp");
let batches: number[] = [];
let forwarded: SignalBatch[] = [];
let wait: Promise<void> = Promise.resolve();
let receiver: OtlpReceiver;
let url: string;

async function consume({ spans }: TraceBatch): Promise<never[]> {
  batches.push(spans);
  await wait;
  return [];
}

beforeAll(async () => {
  receiver = new OtlpReceiver(
    otlpConfig.parse({
      protocols: { http: { endpoint: "127.0.0.1:0", max_request_body_size: LIMIT } },
      max_in_flight_bytes: 20 * 1024 * 1024,
    }),
    {
      traces: { consume },
      logs: { forward: async (batch) => void forwarded.push({ ...batch, bytes: batch.bytes.slice() }) },
    },
    context,
  );
  await receiver.start();
  url = receiver.endpoints.otlpHttp!;
});
afterAll(() => receiver.shutdown());
beforeEach(() => {
  batches = [];
  forwarded = [];
  wait = Promise.resolve();
});

/** Sends bytes and gives all that comes back until the server closes. */
function exchange(...parts: readonly (string | Buffer)[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("close", () => resolve(text)).on("error", () => {});
    for (const part of parts) socket.write(part);
  });
}

/** The Status in the body of the last answer. */
function statusOf(answer: string): { code: number; message: string } {
  const [head, body] = answer.slice(answer.lastIndexOf("HTTP/1.1")).split("\r\n\r\n") as [string, string];
  if (/content-type: application\/json/i.test(head)) return JSON.parse(body) as { code: number; message: string };
  expect(head).toMatch(/content-type: application\/x-protobuf/i);
  return proto.rpcStatus.toObject(proto.rpcStatus.decode(Buffer.from(body, "latin1"))) as {
    code: number;
    message: string;
  };
}

const HEAD = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n";
const AS_PROTOBUF = "Content-Type: application/x-protobuf\r\n";

describe("what Node's parser refuses", () => {
  it.each<[string, string, number, number]>([
    ["no HTTP", "hello\r\n\r\n", 400, 3],
    ["a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, 3],
    ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 3],
    ["a broken header", `${HEAD}a b: c\r\n\r\n`, 400, 3],
    ["a header of a megabyte", `${HEAD}X: ${"x".repeat(1024 * 1024)}\r\n\r\n`, 431, 8],
    ["a thousand headers", `${HEAD}${"X-Header: y\r\n".repeat(2_000)}\r\n`, 431, 8],
    ["a broken chunk", `${HEAD}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`, 400, 3],
    ["no Host", "POST /v1/traces HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 400, 3],
    [
      "two Hosts",
      "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nhOST: evil\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
      400,
      3,
    ],
    ["CONNECT", "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n", 405, 12],
  ])("answers %s with a Status and closes", async (_name, request, status, code) => {
    const answer = await exchange(request);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(statusOf(answer)).toMatchObject({ code, message: expect.stringMatching(/./) as string });
  });

  it.each([
    ["a header that cannot be read", `${HEAD}${AS_PROTOBUF}a b: c\r\n\r\n`],
    ["a body that cannot be read", `${HEAD}${AS_PROTOBUF}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
  ])("answers in protobuf who sends protobuf, with %s", async (_name, request) => {
    const answer = await exchange(request);
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*application\/x-protobuf/);
    expect(statusOf(answer)).toMatchObject({ code: 3 });
  });

  it("is not taken for the answer to the request before it", async () => {
    const handled = Promise.withResolvers<void>();
    wait = handled.promise;
    const span = Buffer.from("0a06120412021200", "hex");
    const good = `${HEAD}${AS_PROTOBUF}Content-Length: ${span.length}\r\n\r\n`;
    const answer = exchange(Buffer.concat([Buffer.from(good), span, Buffer.from("garbage\r\n\r\n")]));
    await expect.poll(() => batches.length).toBe(1);
    handled.resolve();
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("OTLP/HTTP at its edges", () => {
  it.each([
    ["JSON", JsonExporter],
    ["protobuf", ProtoExporter],
  ])("takes what the official exporter sends, with gzip (%s)", async (_name, Exporter) => {
    const exporter = new Exporter({ url: `${url}/v1/traces`, compression: "gzip" as never });
    const provider = new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] });
    for (let i = 0; i < 5; i++) provider.getTracer("app").startSpan(`s${i}`).end();
    await provider.shutdown();
    expect(batches).toEqual([5]);
  });

  it.each([
    ["GET", "/v1/traces", PROTOBUF, 405, 12],
    ["POST", "/other", PROTOBUF, 404, 12],
    ["POST", "/v1/metrics", PROTOBUF, 404, 12],
    ["POST", "/v1/traces/", JSON_TYPE, 404, 12],
    ["POST", "/V1/traces", JSON_TYPE, 404, 12],
  ])("answers %s %s in the request's encoding with %i", async (method, path, headers, status, code) => {
    const response = await fetch(`${url}${path}`, { method, headers, ...(method === "POST" && { body: "{}" }) });
    expect([response.status, response.headers.get("content-type")]).toEqual([status, headers["content-type"]]);
    expect(response.headers.get("allow")).toBe(status === 405 ? "POST" : null);
    const body = Buffer.from(await response.arrayBuffer());
    const read = headers === PROTOBUF ? proto.rpcStatus.decode(body) : JSON.parse(body.toString());
    expect(read).toMatchObject({ code });
  });

  it.each([
    ["http://localhost/v1/traces", "any.example", 200],
    ["HTTP://127.0.0.1:4318/v1/traces?a=http://x", "any.example", 200],
    ["http://rebound.example/v1/traces", "localhost", 403],
    ["http://localhost@rebound.example/v1/traces", "localhost", 403],
    ["http:///v1/traces", "localhost", 403],
    ["http://localhost/other", "localhost", 404],
    ["http://localhost", "localhost", 404],
    ["ftp://localhost/v1/traces", "localhost", 404],
  ])("looks at the host in the target %s, and not at the header %s: %i", async (target, host, status) => {
    const head = `POST ${target} HTTP/1.1\r\nHost: ${host}\r\n${AS_PROTOBUF}Connection: close\r\nContent-Length: 0\r\n\r\n`;
    expect(await exchange(head)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  it.each([
    ["chunked", 200, ""],
    ["Chunked", 200, ""],
    ["gzip, chunked", 501, 'Transfer-Encoding "gzip, chunked" is not supported'],
    ["identity, chunked", 501, 'Transfer-Encoding "identity, chunked" is not supported'],
    ["gzip\r\nTransfer-Encoding: chunked", 501, 'Transfer-Encoding "gzip, chunked" is not supported'],
    ["gzip", 501, 'Transfer-Encoding "gzip" is not supported'],
  ])("answers Transfer-Encoding %j with %i", async (coding, status, why) => {
    const head = `${HEAD}${AS_PROTOBUF}Connection: close\r\nTransfer-Encoding: ${coding}\r\n\r\n`;
    const answer = await exchange(`${head}2\r\n\x0a\x00\r\n0\r\n\r\n`);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain(why);
  });

  it("forwards logs as the bytes that came, in their encoding, and says what to configure for metrics", async () => {
    const bytes = Buffer.from("0a0212000a00", "hex");
    const sent: [Record<string, string>, Buffer, Buffer][] = [
      [PROTOBUF, bytes, bytes],
      [{ ...PROTOBUF, "content-encoding": "zstd" }, zstdCompressSync(bytes), bytes],
      [
        { ...JSON_TYPE, "content-encoding": "gzip" },
        gzipSync('{"resourceLogs":[]}'),
        Buffer.from('{"resourceLogs":[]}'),
      ],
    ];
    for (const [headers, body] of sent) {
      const response = await fetch(`${url}/v1/logs`, { method: "POST", headers, body: new Uint8Array(body) });
      const answer = headers["content-type"] === PROTOBUF["content-type"] ? "" : "{}";
      expect([response.status, await response.text()]).toEqual([200, answer]);
    }
    expect(forwarded.map(({ bytes: got, contentType }) => [contentType, Buffer.from(got)])).toEqual(
      sent.map(([headers, , plain]) => [headers["content-type"], plain]),
    );
    const refused = await fetch(`${url}/v1/metrics`, { method: "POST", headers: JSON_TYPE, body: "{}" });
    expect(await refused.json()).toMatchObject({
      message: expect.stringContaining("add service::pipelines::metrics with receivers: [otlp]") as string,
    });
  });

  it("refuses logs that end within a field: in a request with others it would take theirs for its own", async () => {
    const body = new Uint8Array([0x0a, 0, 0x7a, 0x0a]);
    const response = await fetch(`${url}/v1/logs`, { method: "POST", headers: PROTOBUF, body });
    expect(response.status).toBe(400);
    expect(proto.rpcStatus.decode(Buffer.from(await response.arrayBuffer()))).toMatchObject({
      code: 3,
      message: "ExportLogsServiceRequest at byte 2 ends before its declared length",
    });
    expect(forwarded).toEqual([]);
  });

  it("takes a request that expects anything, and two in one packet", async () => {
    const one = `${HEAD}${AS_PROTOBUF}Expect: the-unexpected\r\nContent-Length: 0\r\n\r\n`;
    const last = `${HEAD}${AS_PROTOBUF}Connection: close\r\nContent-Length: 0\r\n\r\n`;
    expect((await exchange(one + last)).match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
  });

  it("cuts a client that sends thousands of requests and waits for no answer", async () => {
    const one = `${HEAD}${AS_PROTOBUF}Content-Length: 0\r\n\r\n`;
    const answers = (await exchange(one.repeat(5_000))).match(/HTTP\/1\.1 200 /g) ?? [];
    expect(answers.length).toBeLessThan(5_000);
  });

  it("holds a slow client's bytes only while it is there", async () => {
    const held = new Float64Array(context.shared("in-flight", 8));
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`${HEAD}${AS_PROTOBUF}Content-Length: 60000\r\n\r\n${"x".repeat(20_000)}`);
    await expect.poll(() => held[0]).toBe(20_000);
    socket.destroy();
    await expect.poll(() => held[0]).toBe(0);
  });
});
